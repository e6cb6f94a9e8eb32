//! Whatever one tenant leaves in a session, the next tenant on the same backend does not find.

use isolation::residue::{PLANTS, pass_on, residue};
use isolation::{Heard, Scene, assert_none, connect, simple};
use tenantry_embedded::{PgBouncer, PgBouncerConfig};
use tenantry_postgres::AccessMode;
use testkit::{TestDatabase, World, WorldConfig};
use tokio_postgres::Client;

tenantry_postgres::statements! {
    /// What a vetted statement of the next tenant runs under.
    STATE() = "SELECT pg_backend_pid(), current_user::text, current_setting('search_path'), current_setting('row_security'), \
        current_setting('transaction_read_only'), current_setting('transaction_isolation'), coalesce(current_setting('app.tenant', true), ''), \
        current_setting('work_mem'), current_setting('transform_null_equals'), current_setting('statement_timeout')";
    /// Names of the own agents.
    AGENTS() = "SELECT name FROM tenant.agents ORDER BY name";
    /// A write, taken back by the caller.
    ADD() = "INSERT INTO tenant.agents (name, role) VALUES ('written after the plant', 'x')";
}

#[tokio::test]
async fn a_session_is_clean_for_the_next_tenant() {
    let scene = Scene::set(|_| {}).await;
    let mut refused = Vec::new();
    for plant in PLANTS {
        let found = pass_on(&scene, plant).await;
        assert_none(found.leak.as_slice());
        assert!(found.same_backend, "{}: the connection is kept, not replaced", plant.name);
        if !found.planted {
            refused.push(plant.name);
        }
    }
    assert_eq!(refused, ["temporary table", "temporary function", "advisory lock"], "all others were really planted");
    assert_eq!(scene.world.db.stats().opened, 1);
}

#[tokio::test]
async fn even_what_is_refused_would_not_outlive_its_tenant() {
    let scene = Scene::set(|_| {}).await;
    scene
        .as_admin("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC; GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC; GRANT USAGE ON LANGUAGE sql TO PUBLIC")
        .await;
    for plant in PLANTS {
        assert!(pass_on(&scene, plant).await.planted, "{}", plant.name);
    }
    assert_none(&residue(&scene).await);
}

#[tokio::test]
async fn locks_and_failures_of_an_unfinished_transaction_go() {
    let scene = Scene::set(|_| {}).await;
    let context = scene.context(&scene.me).await;
    let mut tx = scene.world.db.begin(&context).await.unwrap();
    let first: i32 = tx.query_one(&STATE, &[]).await.unwrap().get(0);
    tx.raw("LOCK TABLE tenant.agents IN ACCESS EXCLUSIVE MODE", &[]).await.unwrap();
    drop(tx);
    assert_eq!(mate_reads(&scene).await, first, "rolled back and kept");
    let locks =
        "SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = 'relation' AND mode = 'AccessExclusiveLock'";
    assert_eq!(scene.admin.query_one(locks, &[&first]).await.unwrap().get::<_, i64>(0), 0);

    let mut tx = scene.world.db.begin(&context).await.unwrap();
    tx.raw("SELECT 1 / 0", &[]).await.unwrap_err();
    drop(tx);
    assert_eq!(mate_reads(&scene).await, first, "a failed transaction is rolled back");

    // A transaction opened behind the product's back cannot be told from outside, and is not passed on.
    let mut tx = scene.world.db.single(&context).await.unwrap();
    tx.raw("BEGIN", &[]).await.unwrap();
    drop(tx);
    assert_ne!(mate_reads(&scene).await, first, "the connection is replaced");
}

async fn mate_reads(scene: &Scene) -> i32 {
    let context = scene.context(&scene.mate).await;
    let mut tx = scene.world.db.begin(&context).await.unwrap();
    let names = tx.query(&AGENTS, &[]).await.unwrap();
    assert_eq!(names.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [scene.mate.marker.as_str()]);
    let state = tx.query_one(&STATE, &[]).await.unwrap();
    tx.rollback().await.unwrap();
    state.get(0)
}

/// A scene reached through a pooler with one server connection, which a thief of the cell's login uses as well.
struct Pooled {
    scene: Scene,
    world: World,
    pooler: PgBouncer,
}

impl Pooled {
    async fn set(change: impl FnOnce(&mut WorldConfig)) -> Self {
        let scene = Scene::set(|_| {}).await;
        let server: tokio_postgres::Config = testkit::server_url().parse().unwrap();
        let Some(tokio_postgres::config::Host::Tcp(host)) = server.get_hosts().first() else { panic!("a host") };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let mut config = PgBouncerConfig::new(host, port);
        config.users =
            [&scene.me.login, &scene.lone.login].map(|login| (login.clone(), Scene::password(login))).to_vec();
        config.default_pool_size = 1;
        let pooler = PgBouncer::start(config).await.unwrap();
        let database = TestDatabase {
            name: scene.world.database.name.clone(),
            config: scene
                .world
                .database
                .config
                .clone()
                .with_pooler(&format!(
                    "postgres://{}:{}/{}?sslmode=disable",
                    pooler.host(),
                    pooler.port(),
                    scene.world.database.name
                ))
                .unwrap(),
        };
        let mut config = WorldConfig::new(workforce::tenant_schema());
        config.access.mode = AccessMode::Pooler;
        change(&mut config);
        let world = World::on(database, config).await;
        Self { scene, world, pooler }
    }

    async fn thief(&self) -> (Client, Heard) {
        let url = self.pooler.url_for(&self.scene.me.login, &self.scene.world.database.name).unwrap();
        connect(&url.parse().unwrap()).await.unwrap()
    }

    /// The mate reads and writes; its backend, and what it ran under.
    async fn mate(&self) -> (i32, Vec<String>) {
        let context = self.world.context(self.scene.mate.slug).await;
        let mut tx = self.world.db.begin(&context).await.unwrap();
        let names = tx.query(&AGENTS, &[]).await.unwrap();
        assert_eq!(names.iter().map(|r| r.get::<_, String>(0)).collect::<Vec<_>>(), [self.scene.mate.marker.as_str()]);
        let row = tx.query_one(&STATE, &[]).await.unwrap();
        assert_eq!(tx.execute(&ADD, &[]).await.unwrap(), 1);
        tx.rollback().await.unwrap();
        (row.get(0), (1..row.len()).map(|column| row.get(column)).collect())
    }
}

/// What a thief plants through the pooler. The last message of the session counts, so each is one message.
const THEFTS: &[&str] = &[
    "SET ROLE {me_role}",
    "SET ROLE {mate_role}",
    "SET search_path = {me}, public",
    "SET row_security = off",
    "SET default_transaction_read_only = on",
    "SET default_transaction_isolation = serializable",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
    "SET work_mem = '77MB'",
    "SET app.tenant = '{me_id}'",
    "SET transform_null_equals = on",
    "SET statement_timeout = 0",
    "LISTEN tenantry_registry",
    "SET ROLE {me_role}; PREPARE p AS SELECT name FROM {me}.agents",
    "SET ROLE {me_role}; BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT name FROM {me}.agents; COMMIT",
    "SET ROLE {me_role}; CREATE TEMP TABLE agents AS SELECT 'forged'::text AS name; GRANT ALL ON agents TO PUBLIC",
    "SET standard_conforming_strings = off",
    "BEGIN; SET SESSION work_mem = '88MB'; SET ROLE {me_role}; COMMIT",
];

#[tokio::test]
async fn through_a_pooler_nothing_planted_touches_a_transaction() {
    let pooled = Pooled::set(|_| {}).await;
    // The withdrawal of temporary tables is a defence of its own; here it is off, to see what the scope does alone.
    pooled.scene.as_admin("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC").await;
    let (thief, _heard) = pooled.thief().await;
    let pid = simple(&thief, "SELECT pg_backend_pid()").await.unwrap();
    let (first, expected) = pooled.mate().await;
    assert_eq!(pid, [first.to_string()], "the thief and the tenant share a backend");
    assert_eq!(expected[0], pooled.scene.mate.role);
    assert_eq!(expected[1], "pg_catalog, pg_temp");
    assert_eq!(&expected[2..6], ["on", "off", "read committed", ""]);
    for theft in THEFTS {
        simple(&thief, &pooled.scene.fill(theft)).await.unwrap_or_else(|e| panic!("{theft}: {e:?}"));
        let (backend, state) = pooled.mate().await;
        assert_eq!(backend, first, "`{theft}`: they share a backend");
        assert_eq!(state, expected, "after `{theft}`");
        if !theft.contains("{mate_role}") {
            let who = simple(&thief, "SELECT current_user").await.unwrap();
            assert_ne!(
                who,
                std::slice::from_ref(&pooled.scene.mate.role),
                "the tenant's role is not left to the thief after `{theft}`"
            );
        }
        simple(&thief, "DISCARD ALL").await.unwrap();
    }
    pooled.pooler.stop().await;
}

#[tokio::test]
async fn through_a_pooler_without_the_reset_plants_are_found() {
    let pooled = Pooled::set(|config| config.access.defences.reset = false).await;
    let (thief, _heard) = pooled.thief().await;
    let (first, clean) = pooled.mate().await;
    for theft in [
        "SET row_security = off",
        "SET work_mem = '77MB'",
        "SET app.tenant = '{me_id}'",
        "SET transform_null_equals = on",
    ] {
        simple(&thief, &pooled.scene.fill(theft)).await.unwrap();
        let (backend, state) = pooled.mate().await;
        assert_eq!(backend, first);
        assert_ne!(state, clean, "after `{theft}`");
        simple(&thief, "DISCARD ALL").await.unwrap();
    }
    pooled.pooler.stop().await;
}

#[tokio::test]
async fn through_a_pooler_an_abandoned_transaction_takes_its_backend_along() {
    let pooled = Pooled::set(|_| {}).await;
    let (first, _) = pooled.mate().await;
    for abandoned in
        ["BEGIN; SET LOCAL ROLE {me_role}; LOCK TABLE {me}.agents IN ACCESS EXCLUSIVE MODE", "BEGIN; SELECT 1 / 0"]
    {
        let (thief, _) = pooled.thief().await;
        let _ = simple(&thief, &pooled.scene.fill(abandoned)).await;
        drop(thief);
        let (backend, state) = pooled.mate().await;
        assert_ne!(backend, first, "the pooler closed it");
        assert_eq!(state[0], pooled.scene.mate.role);
    }
    pooled.pooler.stop().await;
}

/// A dedicated tenant is its own login; whoever stole that may still leave the session in another role.
#[tokio::test]
async fn through_a_pooler_a_dedicated_tenant_is_scoped_as_well() {
    let pooled = Pooled::set(|_| {}).await;
    let lone = &pooled.scene.lone;
    let url = pooled.pooler.url_for(&lone.login, &pooled.scene.world.database.name).unwrap();
    let (thief, _heard) = connect(&url.parse().unwrap()).await.unwrap();
    // From 16 on the membership is for inheriting only.
    let planted = simple(&thief, "SET ROLE tenantry_tenant").await.is_ok();
    assert_eq!(planted, pooled.scene.major < 16);
    let context = pooled.world.context(lone.slug).await;
    let mut tx = pooled.world.db.begin(&context).await.unwrap();
    let row = tx.query_one(&STATE, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(1), lone.role);
    let names = tx.query(&AGENTS, &[]).await.unwrap();
    assert_eq!(names.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [lone.marker.as_str()]);
    tx.rollback().await.unwrap();
    let pid = simple(&thief, "SELECT pg_backend_pid()").await.unwrap();
    assert_eq!(pid, [row.get::<_, i32>(0).to_string()], "they share a backend");
    pooled.pooler.stop().await;
}

#[tokio::test]
async fn through_a_pooler_unvetted_sql_is_refused() {
    let pooled = Pooled::set(|_| {}).await;
    let context = pooled.world.context(pooled.scene.me.slug).await;
    let mut tx = pooled.world.db.begin(&context).await.unwrap();
    assert!(tx.raw("SELECT 1", &[]).await.unwrap_err().to_string().contains("connection of our own"));
    drop(tx);
    pooled.pooler.stop().await;
}
