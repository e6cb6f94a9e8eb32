//! A run over the fleet that is killed at any point is finished by the next one, and leaves nothing behind.
//!
//! As with provisioning, the points are the requests on the wire: a proxy stops after each in turn, so none can be forgotten.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::process::Stdio;

use isolation::backends::{PATIENCE, eventually};
use isolation::proxy::Proxy;
use isolation::through::parts;
use tenantry_embedded::{Throwaway, ThrowawayConfig};
use tenantry_postgres::migrate::{Events, Fleet, MigrateError, MigrationSet, Options, Outcome, Report, Scope};
use tenantry_postgres::{Actor, TenantSchema};
use testkit::{TestDatabase, World, WorldConfig};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

const SERVER: &str = "ISOLATION_FLEET_SERVER";
const DATABASE: &str = "ISOLATION_FLEET_DATABASE";
const WAY: &str = "ISOLATION_FLEET_WAY";
const TENANTS: i64 = 2;

/// A step in a transaction, one outside, and another inside; and the way back.
const FILES: &[(&str, &str)] = &[
    ("0001_baseline.sql", "CREATE TABLE tenant.notes (id integer PRIMARY KEY, body text NOT NULL);"),
    ("0002_color.sql", "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'red'"),
    ("0003_beside.sql", "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY notes_body ON tenant.notes (body)"),
    ("0004_size.sql", "ALTER TABLE tenant.notes ADD COLUMN size integer"),
    ("0002_color.down.sql", "ALTER TABLE tenant.notes DROP COLUMN color"),
    ("0003_beside.down.sql", "-- tenantry: no-transaction\nDROP INDEX CONCURRENTLY tenant.notes_body"),
    ("0004_size.down.sql", "ALTER TABLE tenant.notes DROP COLUMN size"),
];

/// From the first version to the last, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    const fn target(self) -> i32 {
        match self {
            Self::Up => 4,
            Self::Down => 1,
        }
    }

    /// What brings a tenant's first table to where the way begins.
    const fn beginning(self) -> &'static str {
        match self {
            Self::Up => "",
            Self::Down => {
                "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'red'; \
                 CREATE INDEX notes_body ON tenant.notes (body); ALTER TABLE tenant.notes ADD COLUMN size integer;"
            }
        }
    }

    async fn run(self, database: &TestDatabase) -> Result<Report, MigrateError> {
        match self {
            Self::Up => fleet(database).up(&options(), &Events::none()).await,
            Self::Down => fleet(database).down(1, &options(), &Events::none()).await,
        }
    }
}

/// What could be left over, each with the query that counts it; `the_way` and `the_target` are the run's.
const LEFT_OVER: &[(&str, &str)] = &[
    ("a step that runs for ever", "SELECT count(*) FROM public.migration_ledger WHERE state = 'running'"),
    ("a run without an end", "SELECT count(*) FROM public.migration_runs WHERE ended_at IS NULL"),
    ("an invalid index", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
    ("a tenant behind", "SELECT count(*) FROM public.tenant_placements WHERE schema_version <> the_target"),
    (
        "a step that is noted twice or not at all",
        "SELECT count(*) FROM public.tenants t, generate_series(2, 4) v WHERE 1 <> (SELECT count(*) FROM public.migration_ledger l \
         WHERE l.tenant_id = t.id AND l.version = v AND l.direction = 'the_way' AND l.state = 'done')",
    ),
    (
        "a version that is remembered although nobody has it",
        "SELECT count(*) FROM public.schema_migrations WHERE scope = 'tenant' AND version > the_target",
    ),
    (
        "a schema unlike the first",
        "SELECT count(DISTINCT f) - 1 FROM (SELECT string_agg(concat_ws(' ', c.relname, a.attname, a.atttypid, a.attnotnull, c.relowner, i.indisvalid), ',' ORDER BY c.relname, a.attnum) AS f \
         FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
         LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE n.nspname LIKE 'tenant\\_%' GROUP BY n.oid) s",
    ),
];

fn set() -> MigrationSet {
    MigrationSet::new(Scope::Tenant, FILES).unwrap()
}

/// One tenant after the other, so that every run sends the same requests.
fn options() -> Options {
    Options { jobs: 1, ..Options::new(Actor::system("test")) }
}

fn fleet(database: &TestDatabase) -> Fleet {
    Fleet::new(&database.config, set())
}

struct Stage {
    world: World,
    admin: Client,
    proxy: Proxy,
}

impl Stage {
    async fn on(database: TestDatabase) -> Self {
        let (host, port, ..) = parts(database.server());
        let proxy = Proxy::start(&host, port).await;
        let first = MigrationSet::new(Scope::Tenant, &FILES[..1]).unwrap();
        let world = World::on(database, WorldConfig::new(TenantSchema::replaying(first, &["notes"]))).await;
        for n in 0..TENANTS {
            world.tenant(&format!("t{n}")).await;
        }
        let admin = world.admin().await;
        Self { world, admin, proxy }
    }

    fn proxied(&self) -> TestDatabase {
        self.world.database.by_way_of(self.proxy.port())
    }

    /// As if no run had ever been.
    async fn back_to_the_beginning(&self, way: Way) {
        let at = 5 - way.target();
        let mut sql = format!(
            "DELETE FROM public.migration_ledger WHERE scope = 'tenant'; DELETE FROM public.migration_runs; \
                       DELETE FROM public.schema_migrations WHERE scope = 'tenant'; UPDATE public.tenant_placements SET schema_version = {at};"
        );
        for n in 0..TENANTS {
            sql.push_str(&format!(
                "DROP TABLE tenant_t{n}.notes; SET ROLE tenantry_owner; CREATE TABLE tenant_t{n}.notes (id integer PRIMARY KEY, body text NOT NULL); {} RESET ROLE;",
                way.beginning().replace("tenant.", &format!("tenant_t{n}."))
            ));
        }
        self.admin.batch_execute(&sql).await.unwrap();
    }

    /// The number of requests of a whole run.
    async fn requests(&self, way: Way) -> usize {
        self.back_to_the_beginning(way).await;
        self.proxy.release();
        let before = self.proxy.passed();
        let report = way.run(&self.proxied()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        self.is_whole(way, "an undisturbed run").await;
        self.proxy.passed() - before
    }

    async fn is_whole(&self, way: Way, after: &str) {
        for (what, sql) in LEFT_OVER {
            let sql = sql.replace("the_way", way.name()).replace("the_target", &way.target().to_string());
            let found: i64 = self.admin.query_one(&sql, &[]).await.unwrap().get(0);
            assert_eq!(found, 0, "{what} after {after}");
        }
        eventually("no lock is left", async || {
            let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            self.admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    }
}

/// Starts another process that runs over the fleet.
fn child(database: &TestDatabase, way: Way) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fleet::runs_where_it_is_told", "--nocapture"])
        .env(SERVER, database.server())
        .env(DATABASE, &database.name)
        .env(WAY, way.name())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Nothing by itself; as a child it is one run.
#[tokio::test]
async fn runs_where_it_is_told() {
    let (Ok(server), Ok(name)) = (std::env::var(SERVER), std::env::var(DATABASE)) else { return };
    let database = TestDatabase::existing(&server, &name);
    let way = if std::env::var(WAY).as_deref() == Ok("down") { Way::Down } else { Way::Up };
    way.run(&database).await.unwrap();
}

async fn is_finished_by_the_next_wherever_it_is_killed(way: Way) {
    let stage = Stage::on(TestDatabase::create().await).await;
    let requests = stage.requests(way).await;
    assert!(requests > 20, "the run goes through the proxy: {requests}");
    for passed in 1..=requests {
        let after = format!("a run {} killed after {passed} of {requests} requests", way.name());
        stage.back_to_the_beginning(way).await;
        stage.proxy.hold_after(passed);
        let mut child = child(&stage.proxied(), way);
        tokio::time::timeout(PATIENCE, stage.proxy.held()).await.unwrap_or_else(|_| panic!("never: {after}"));
        // SIGKILL.
        child.kill().await.unwrap();
        // Its lock is given back when the server notices; what it still works on is not waited for.
        let holder = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                      AND application_name LIKE 'tenantry migrate,%' AND state = 'idle'";
        eventually("the idle sessions end", async || {
            stage.admin.query_one(holder, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
        stage.proxy.release();
        let report = way.run(&stage.world.database).await.unwrap();
        assert!(matches!(report.outcome, Outcome::Done | Outcome::Nothing), "after {after}: {report:?}");
        stage.is_whole(way, &after).await;
    }
}

/// An index built beside the traffic is among its steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_killed_at_any_request_is_finished_by_the_next() {
    is_finished_by_the_next_wherever_it_is_killed(Way::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_killed_at_any_request_is_finished_by_the_next() {
    is_finished_by_the_next_wherever_it_is_killed(Way::Down).await;
}

/// The statement itself is at work when the run is killed: it leaves an invalid index, on the way up as on the way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_killed_while_an_index_is_built_or_dropped_is_finished_by_the_next() {
    let stage = Stage::on(TestDatabase::create().await).await;
    let reader = stage.world.admin().await;
    for (way, halfway, statement) in
        [(Way::Up, 2, "CREATE INDEX CONCURRENTLY"), (Way::Down, 3, "DROP INDEX CONCURRENTLY")]
    {
        stage.back_to_the_beginning(way).await;
        let there = Options { to: Some(halfway), ..options() };
        let here = fleet(&stage.world.database);
        let report = match way {
            Way::Up => here.up(&there, &Events::none()).await.unwrap(),
            Way::Down => here.down(halfway, &there, &Events::none()).await.unwrap(),
        };
        assert_eq!(report.outcome, Outcome::Done, "{report:?}");
        // Both wait for whoever has used the table.
        reader.batch_execute("BEGIN; INSERT INTO tenant_t0.notes (id, body) VALUES (1, 'a')").await.unwrap();
        let mut child = child(&stage.world.database, way);
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%{statement}%'"
        );
        let count = async |sql: &str| stage.admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
        eventually("the statement waits halfway", async || count(&waiting).await == 1 && count(invalid).await == 1)
            .await;
        child.kill().await.unwrap();
        let database = stage.world.database.clone();
        let next = tokio::spawn(async move { way.run(&database).await.unwrap() });
        let killed = "SELECT count(*) FROM public.migration_ledger WHERE error = 'the run was killed'";
        eventually("the next run has ended it", async || count(killed).await == 1).await;
        reader.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(next.await.unwrap().outcome, Outcome::Done);
        stage.is_whole(way, statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_a_crash_of_the_server() {
    let server = Throwaway::start(ThrowawayConfig::default()).await.unwrap();
    let database = TestDatabase::create_on(&server.cluster().superuser_url("postgres")).await;
    let mut stage = Stage::on(database).await;
    let requests = stage.requests(Way::Up).await;
    for passed in (1..=requests).filter(|n| n % 6 == 5) {
        let after = format!("a crash after {passed} of {requests} requests");
        stage.back_to_the_beginning(Way::Up).await;
        stage.proxy.hold_after(passed);
        let proxied = stage.proxied();
        let run = tokio::spawn(async move { fleet(&proxied).up(&options(), &Events::none()).await });
        tokio::time::timeout(PATIENCE, stage.proxy.held()).await.unwrap_or_else(|_| panic!("never: {after}"));
        let pid: i32 = stage
            .admin
            .query_one(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tenantry_migrator' \
                 ORDER BY backend_start DESC LIMIT 1",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        eventually("the server falls", async || stage.admin.is_closed()).await;
        let admin = stage.world.database.clone();
        eventually("the server recovers", async || {
            tokio_postgres::connect(admin.server(), tokio_postgres::NoTls).await.is_ok()
        })
        .await;
        stage.proxy.release();
        stage.admin = admin.admin().await;
        // Either the run goes on, or it had not begun and says that the database is away.
        let outcome = tokio::time::timeout(PATIENCE, run).await.expect("it notices").unwrap();
        println!(
            "{after}: {}",
            outcome.as_ref().map_or_else(ToString::to_string, |report| format!("{:?}", report.outcome))
        );
        fleet(&stage.world.database).up(&options(), &Events::none()).await.unwrap();
        stage.is_whole(Way::Up, &after).await;
    }
}
