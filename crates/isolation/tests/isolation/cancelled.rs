//! A request that is cancelled at any await of its way through a transaction leaves nothing behind.
//!
//! The request is a future; it is polled `k` times and dropped, for every `k` until it completes. A cold process opens its
//! connection on the way, a warm one binds, prepares or only executes, so each is gone through.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where it cannot go on, and tells its figures"
)]

use std::sync::Arc;
use std::time::Duration;

use isolation::backends::{busy, eventually};
use isolation::marks::{ADD, ALL, OF_BATCH, WHO, schema};
use isolation::polls::at_most;
use isolation::through::{by_way_of, few_connections, pooler};
use tenantry_core::SystemClock;
use tenantry_postgres::{AccessConfig, AccessMode, DatabaseConfig, DbError, Registry, RegistryConfig, TenantDb};
use testkit::{TestDatabase, World, WorldConfig};

/// What a request does with its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Commit,
    Rollback,
    Single,
    ReadOnly,
    Raw,
}

/// What is to be true of its rows afterwards.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The commit was acknowledged.
    Kept,
    /// Nothing was to be kept.
    Nothing,
}

async fn request(db: &TenantDb, registry: &Registry, shape: Shape, batch: &str) -> Result<Outcome, DbError> {
    let slug = "acme".parse().expect("a slug");
    let context = registry.system_context(&slug, "test").await.expect("acme is served");
    match shape {
        Shape::Commit | Shape::Rollback => {
            let mut tx = db.begin(&context).await?;
            tx.execute(&ADD, &[&"acme", &batch, &1]).await?;
            let seen = tx.query(&OF_BATCH, &[&batch]).await?;
            assert_eq!(seen.len(), 1);
            tx.execute(&ADD, &[&"acme", &batch, &2]).await?;
            if shape == Shape::Rollback {
                tx.rollback().await?;
                return Ok(Outcome::Nothing);
            }
            tx.commit().await?;
            Ok(Outcome::Kept)
        }
        Shape::Single => {
            let mut tx = db.single(&context).await?;
            tx.execute(&ADD, &[&"acme", &batch, &1]).await?;
            tx.commit().await?;
            Ok(Outcome::Kept)
        }
        Shape::ReadOnly => {
            let mut tx = db.read_only(&context).await?;
            tx.query(&ALL, &[]).await?;
            tx.query(&WHO, &[]).await?;
            tx.commit().await?;
            Ok(Outcome::Nothing)
        }
        Shape::Raw => {
            let mut tx = db.begin(&context).await?;
            tx.raw("SET statement_timeout = 0", &[]).await?;
            tx.raw("SET search_path = tenant_acme", &[]).await?;
            tx.execute(&ADD, &[&"acme", &batch, &1]).await?;
            tx.commit().await?;
            Ok(Outcome::Kept)
        }
    }
}

struct Stage {
    world: World,
    admin: tokio_postgres::Client,
    config: DatabaseConfig,
    access: AccessConfig,
}

impl Stage {
    async fn new(database: TestDatabase, config: DatabaseConfig, mode: AccessMode) -> Self {
        let access = few_connections(mode, 1, 2);
        let mut world = WorldConfig::new(schema());
        world.access = access.clone();
        let world = World::on(database, world).await;
        world.tenant("acme").await;
        world.tenant("globex").await;
        let admin = world.admin().await;
        Self { world, admin, config, access }
    }

    /// Cancels one request after each number of polls, on a process that served `warm` such requests before.
    async fn every_await(&self, shape: Shape, warm: usize) -> usize {
        let mut polls = 0;
        loop {
            polls += 1;
            assert!(polls < 200, "{shape:?} does not come to an end");
            // A cold process also reads the registry on the way.
            let registry = match warm {
                0 => Registry::start(&self.config, &RegistryConfig::default(), Arc::new(SystemClock)),
                _ => self.world.registry.clone(),
            };
            let db = TenantDb::new(self.config.clone(), self.access.clone(), registry.clone());
            for n in 0..warm {
                let batch = format!("{shape:?} warm {warm} polls {polls} before {n}");
                request(&db, &registry, shape, &batch).await.unwrap();
            }
            let batch = format!("{shape:?} warm {warm} polls {polls}");
            let outcome = at_most(polls, request(&db, &registry, shape, &batch)).await;
            self.check(&db, &registry, &batch, outcome.as_ref().map(|o| o.as_ref().unwrap()), shape).await;
            db.close();
            if warm == 0 {
                registry.stop();
            }
            if outcome.is_some() {
                return polls;
            }
        }
    }

    async fn check(&self, db: &TenantDb, registry: &Registry, batch: &str, outcome: Option<&Outcome>, shape: Shape) {
        // The next request waits for nothing but the one place there is, and finds its own rows and scope.
        for slug in ["globex", "acme"] {
            let context = registry.system_context(&slug.parse().unwrap(), "test").await.unwrap();
            let begun = db.begin(&context).await;
            let mut tx = begun.unwrap_or_else(|error| panic!("`{slug}` is not served after `{batch}`: {error}"));
            let who = tx.query_one(&WHO, &[]).await.unwrap();
            assert_eq!(who.get::<_, String>(0), format!("tnt_{}", context.id().as_uuid().simple()), "after `{batch}`");
            for row in tx.query(&ALL, &[]).await.unwrap() {
                assert_eq!(row.get::<_, &str>(0), slug, "a foreign row after `{batch}`");
            }
            tx.execute(&ADD, &[&slug, &format!("{batch}, then {slug} {}", uuid::Uuid::new_v4()), &1]).await.unwrap();
            tx.commit().await.unwrap();
        }
        eventually(&format!("all places are free after `{batch}`"), async || {
            let stats = db.stats();
            stats.live == stats.idle && stats.live <= 1 && stats.exhausted == 0
        })
        .await;
        eventually(&format!("no session is busy after `{batch}`"), async || busy(&self.admin).await == 0).await;
        let context = registry.system_context(&"acme".parse().unwrap(), "test").await.unwrap();
        let mut tx = db.read_only(&context).await.unwrap();
        let rows = tx.query(&OF_BATCH, &[&batch]).await.unwrap().len();
        let whole = match shape {
            Shape::Commit | Shape::Rollback => 2,
            Shape::Single | Shape::Raw => 1,
            Shape::ReadOnly => 0,
        };
        match outcome {
            Some(Outcome::Kept) => assert_eq!(rows, whole, "acknowledged: `{batch}`"),
            Some(Outcome::Nothing) => assert_eq!(rows, 0, "rolled back: `{batch}`"),
            None if shape == Shape::Rollback => assert_eq!(rows, 0, "never committed: `{batch}`"),
            None => assert!(rows == 0 || rows == whole, "half committed: `{batch}`"),
        }
    }
}

async fn all_shapes(stage: &Stage, shapes: &[Shape]) {
    for shape in shapes {
        let mut polls = Vec::new();
        // Opened and sent whole; prepared on the way; prepared before.
        let warm: &[usize] = if *shape == Shape::Commit { &[0, 1, 2] } else { &[0, 2] };
        for warm in warm {
            polls.push(stage.every_await(*shape, *warm).await);
        }
        println!("{shape:?}: polls to the end {polls:?}");
        assert!(polls.iter().all(|p| *p > 1), "{shape:?}: the way was gone through poll by poll: {polls:?}");
    }
}

#[tokio::test]
async fn cancelled_anywhere_on_our_own_connections() {
    let database = TestDatabase::create().await;
    let config = database.config.clone();
    let stage = Stage::new(database, config, AccessMode::Direct).await;
    all_shapes(&stage, &[Shape::Commit, Shape::Rollback, Shape::Single, Shape::ReadOnly, Shape::Raw]).await;
    stage.world.registry.stop();
}

#[tokio::test]
async fn cancelled_anywhere_through_a_pooler() {
    let database = TestDatabase::create().await;
    let pooler = pooler(&database, 2).await;
    let config = by_way_of(&database, &pooler);
    let stage = Stage::new(database, config, AccessMode::Pooler).await;
    let shapes = [Shape::Commit, Shape::Rollback, Shape::Single, Shape::ReadOnly];
    for shape in shapes {
        // Nothing is prepared through a pooler, so being warm is one thing only.
        for warm in 0..2 {
            let polls = stage.every_await(shape, warm).await;
            println!("{shape:?}, warm {warm}: polls to the end {polls}");
        }
    }
    stage.world.registry.stop();
    tokio::time::timeout(Duration::from_secs(10), pooler.stop()).await.unwrap();
}
