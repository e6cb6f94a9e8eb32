//! Tenant transactions on a real server.
#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "what helps a test fails as a test does")]

use std::time::Duration;

use tenantry_postgres::{AccessConfig, DbError, Exhausted, TenantSchema};
use testkit::{World, WorldConfig};

tenantry_postgres::statements! {
    /// Adds a note.
    ADD(TEXT) = "INSERT INTO tenant.notes (body) VALUES ($1)";
    /// All notes.
    ALL() = "SELECT body FROM tenant.notes ORDER BY id";
    /// The session's identity.
    WHO() = "SELECT current_user::text, current_setting('search_path'), pg_backend_pid(), current_setting('statement_timeout')";
    /// Waits.
    WAIT(FLOAT8) = "SELECT count(*) FROM generate_series(1, ($1 * 10000000)::bigint)";
    /// Fails.
    FAIL() = "SELECT 1/0";
}

fn notes() -> TenantSchema {
    TenantSchema::new(
        "CREATE TABLE tenant.notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
        &["notes"],
    )
}

async fn world(change: impl FnOnce(&mut AccessConfig)) -> World {
    let mut config = WorldConfig::new(notes());
    change(&mut config.access);
    World::start(config).await
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn bodies(world: &World, slug: &str) -> Vec<String> {
    let context = world.context(slug).await;
    let mut tx = world.db.single(&context).await.unwrap();
    tx.query(&ALL, &[]).await.unwrap().iter().map(|r| r.get(0)).collect()
}

async fn add(world: &World, slug: &str, body: &str) {
    let context = world.context(slug).await;
    let mut tx = world.db.single(&context).await.unwrap();
    assert_eq!(tx.execute(&ADD, &[&body]).await.unwrap(), 1);
}

#[tokio::test]
async fn two_tenants_on_one_backend_see_their_own_rows() {
    let world = world(|c| c.cell_connections = 1).await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    for round in 0..5 {
        add(&world, "acme", &format!("acme {round}")).await;
        add(&world, "globex", &format!("globex {round}")).await;
    }
    let (a, b) = (bodies(&world, "acme").await, bodies(&world, "globex").await);
    assert_eq!((a.len(), b.len()), (5, 5));
    assert!(a.iter().all(|x| x.starts_with("acme")) && b.iter().all(|x| x.starts_with("globex")));
    assert_eq!(world.db.stats().opened, 1, "one backend served both");
}

/// A connection that changes its tenant takes the role in the message that begins the transaction, and loses it with that.
#[tokio::test]
async fn a_scope_that_was_rolled_back_is_taken_again() {
    let world = world(|c| c.cell_connections = 1).await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    let (acme, globex) = (world.context("acme").await, world.context("globex").await);
    for end in ["rolled back", "dropped", "failed"] {
        add(&world, "globex", "before").await;
        let mut tx = world.db.begin(&acme).await.unwrap();
        tx.execute(&ADD, &[&"in vain"]).await.unwrap();
        match end {
            "rolled back" => tx.rollback().await.unwrap(),
            "dropped" => drop(tx),
            _ => {
                assert!(tx.query(&FAIL, &[]).await.is_err());
                drop(tx);
            }
        }
        for context in [&acme, &globex, &acme] {
            let mut tx = world.db.single(context).await.unwrap();
            let who: String = tx.query_one(&WHO, &[]).await.unwrap().get(0);
            assert_eq!(who, context.tenant().role().as_str(), "{end}");
        }
        assert_eq!(bodies(&world, "acme").await, [""; 0], "{end}");
    }
    assert_eq!(world.db.stats().opened, 1, "no connection was lost for it");
}

#[tokio::test]
async fn nothing_stays_without_commit() {
    let world = world(|c| c.cell_connections = 1).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.execute(&ADD, &[&"kept"]).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.execute(&ADD, &[&"dropped"]).await.unwrap();
    drop(tx);
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.execute(&ADD, &[&"rolled back"]).await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.execute(&ADD, &[&"failed"]).await.unwrap();
    tx.query(&FAIL, &[]).await.unwrap_err();
    assert!(matches!(tx.query(&ALL, &[]).await, Err(DbError::Misuse(_))));
    assert!(tx.commit().await.is_err());
    assert_eq!(bodies(&world, "acme").await, ["kept"]);
}

#[tokio::test]
async fn a_read_only_transaction_refuses_writes() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.read_only(&context).await.unwrap();
    let error = tx.execute(&ADD, &[&"x"]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("25006"));
}

#[tokio::test]
async fn a_snapshot_sees_one_moment_and_writes_nothing() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    add(&world, "acme", "before").await;
    let mut tx = world.db.snapshot(&context).await.unwrap();
    assert_eq!(tx.query(&ALL, &[]).await.unwrap().len(), 1);
    add(&world, "acme", "meanwhile").await;
    assert_eq!(tx.query(&ALL, &[]).await.unwrap().len(), 1, "what was committed since is not seen");
    let error = tx.execute(&ADD, &[&"x"]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("25006"));
    drop(tx);
    assert_eq!(bodies(&world, "acme").await, ["before", "meanwhile"], "by whoever looks after it");
}

#[tokio::test]
async fn a_single_handle_runs_one_statement_only() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.single(&context).await.unwrap();
    tx.query(&ALL, &[]).await.unwrap();
    assert!(matches!(tx.query(&ALL, &[]).await, Err(DbError::Misuse(_))));
}

#[tokio::test]
async fn the_session_is_scoped_and_pinned() {
    let world = world(|_| {}).await;
    let created = world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.single(&context).await.unwrap();
    let row = tx.query_one(&WHO, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), format!("tnt_{}", created.tenant.id.to_string().replace('-', "")));
    assert_eq!(row.get::<_, String>(1), "pg_catalog,pg_temp");
    assert_eq!(row.get::<_, String>(3), "30s");
}

#[tokio::test]
async fn a_tenants_own_timeouts_hold() {
    let world = world(|c| c.cell_connections = 1).await;
    let created = world.tenant("acme").await;
    world.tenant("globex").await;
    let admin = world.admin().await;
    admin
        .execute(
            "UPDATE public.tenant_placements SET statement_timeout_ms = 50 WHERE tenant_id = $1",
            &[created.tenant.id.as_uuid()],
        )
        .await
        .unwrap();
    eventually("the tenant's own limit is heard", async || {
        let context = world.context("acme").await;
        let mut tx = world.db.single(&context).await.unwrap();
        tx.query_one(&WHO, &[]).await.unwrap().get::<_, String>(3) == "50ms"
    })
    .await;
    let context = world.context("acme").await;
    let mut tx = world.db.single(&context).await.unwrap();
    assert!(matches!(tx.query(&WAIT, &[&5.0]).await, Err(DbError::Timeout(_))));
    drop(tx);
    let context = world.context("globex").await;
    let mut tx = world.db.single(&context).await.unwrap();
    assert_eq!(tx.query_one(&WHO, &[]).await.unwrap().get::<_, String>(3), "30s", "the neighbour keeps the default");
}

#[tokio::test]
async fn a_cancelled_request_leaves_no_trace_and_frees_its_place() {
    let world = world(|c| {
        c.cell_connections = 1;
        c.tenant_connections = 1;
    })
    .await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.execute(&ADD, &[&"lost"]).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), async { tx.query(&WAIT, &[&100.0]).await });
    assert!(waiting.await.is_err());
    drop(tx);
    add(&world, "acme", "next").await;
    assert_eq!(bodies(&world, "acme").await, ["next"]);
    let admin = world.admin().await;
    for _ in 0..100 {
        let busy = admin
            .query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%generate_series%' AND state = 'active' AND pid <> pg_backend_pid()", &[])
            .await
            .unwrap();
        if busy.get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the cancelled statement still runs");
}

#[tokio::test]
async fn a_flood_starves_neither_its_cell_nor_another() {
    let world = world(|c| {
        c.cell_connections = 2;
        c.tenant_connections = 1;
        c.acquire_timeout = Duration::from_millis(300);
    })
    .await;
    world.tenant("flood").await;
    world.tenant("quiet").await;
    let context = world.context("flood").await;
    let held = world.db.begin(&context).await.unwrap();
    let refused = world.db.begin(&context).await.unwrap_err();
    assert!(matches!(refused, DbError::Exhausted { limit: Exhausted::Tenant, .. }));
    add(&world, "quiet", "served").await;
    drop(held);
    add(&world, "flood", "served again").await;
}

#[tokio::test]
async fn an_idle_connection_of_another_cell_makes_room() {
    let mut config = WorldConfig::new(notes());
    config.cell_capacity = 1;
    config.access.max_connections = 2;
    let world = World::start(config).await;
    for slug in ["one", "two", "three", "four"] {
        world.tenant(slug).await;
    }
    for round in 0..3 {
        for slug in ["one", "two", "three", "four"] {
            add(&world, slug, &format!("{slug} {round}")).await;
        }
    }
    let stats = world.db.stats();
    assert!(stats.live <= 2, "{stats:?}");
    assert!(stats.evicted > 0);
    assert_eq!(bodies(&world, "three").await, ["three 0", "three 1", "three 2"]);
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_with_a_context_from_before() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    world.provisioner.suspend("acme", &tenantry_postgres::Actor::system("test")).await.unwrap();
    eventually("the suspension is heard", async || {
        matches!(world.db.single(&context).await, Err(DbError::ContextExpired))
    })
    .await;
}

#[tokio::test]
async fn a_dedicated_tenant_has_its_own_login() {
    let world = world(|_| {}).await;
    let actor = tenantry_postgres::Actor::system("test");
    let new = tenantry_postgres::NewTenant {
        slug: "alone".parse().unwrap(),
        admin_email: "a@alone.example".into(),
        plan_tier: "enterprise".into(),
        allowed_domains: vec![],
        dedicated: true,
    };
    world.provisioner.create(&new, &actor).await.unwrap();
    add(&world, "alone", "mine").await;
    assert_eq!(bodies(&world, "alone").await, ["mine"]);
    world.provisioner.delete("alone", chrono::TimeDelta::zero(), &actor).await.unwrap();
    world.db.close();
    world.provisioner.purge("alone", chrono::TimeDelta::zero(), &actor).await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_refused_is_no_refused_statement() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let admin = world.admin().await;
    let cell: String = admin.query_one("SELECT login_role FROM public.cells", &[]).await.unwrap().get(0);
    let database = world.database.config.database();
    let connects = |may: &str| {
        format!("SET ROLE tenantry_owner; {may} {cell}; RESET ROLE").replace("THIS", &format!("\"{database}\""))
    };
    for (lock, unlock, code) in [
        (connects("REVOKE CONNECT ON DATABASE THIS FROM"), connects("GRANT CONNECT ON DATABASE THIS TO"), "42501"),
        (format!("ALTER ROLE {cell} NOLOGIN"), format!("ALTER ROLE {cell} LOGIN"), "28000"),
        (format!("ALTER ROLE {cell} CONNECTION LIMIT 0"), format!("ALTER ROLE {cell} CONNECTION LIMIT -1"), "53300"),
    ] {
        admin.batch_execute(&lock).await.unwrap();
        let error = world.db.single(&context).await.unwrap_err();
        match code {
            "53300" => assert!(matches!(error, DbError::Unavailable(_)), "{error}"),
            _ => assert!(error.refuses_login() && error.sqlstate() == Some(code), "{code}: {error}"),
        }
        assert!(!error.is_unprepared(), "{error}");
        admin.batch_execute(&unlock).await.unwrap();
    }
    add(&world, "acme", "served again").await;
}
