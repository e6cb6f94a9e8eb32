//! A fleet of small tenants, and what is asked of it.

use std::sync::{Arc, Mutex};

use tenantry_postgres::migrate::{Event, Events, Fleet, MigrationSet, Options, Scope};
use tenantry_postgres::{Actor, TenantSchema};
use testkit::{TestDatabase, World, WorldConfig};
use tokio_postgres::Client;

pub(crate) const BASELINE: (&str, &str) =
    ("0001_baseline.sql", "CREATE TABLE tenant.notes (id integer PRIMARY KEY, body text NOT NULL);");
pub(crate) const COLOR: (&str, &str) =
    ("0002_color.sql", "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'red'; -- the end");
pub(crate) const COLOR_DOWN: (&str, &str) = ("0002_color.down.sql", "ALTER TABLE tenant.notes DROP COLUMN color");
pub(crate) const TAGS: (&str, &str) = (
    "0003_tags.sql",
    "CREATE TABLE tenant.tags (name text PRIMARY KEY); GRANT SELECT, INSERT ON tenant.tags TO tenant_role",
);
pub(crate) const TAGS_DOWN: (&str, &str) = ("0003_tags.down.sql", "DROP TABLE tenant.tags");
/// Fails where two notes have the same text.
pub(crate) const UNIQUE: (&str, &str) = ("0002_unique.sql", "CREATE UNIQUE INDEX notes_body ON tenant.notes (body)");
pub(crate) const BESIDE: (&str, &str) =
    ("0002_beside.sql", "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY notes_body ON tenant.notes (body)");

pub(crate) fn set(files: &[(&str, &str)]) -> MigrationSet {
    MigrationSet::new(Scope::Tenant, files).unwrap()
}

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) admin: Client,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Stage {
    /// Tenants `t00`, `t01`, … at the first version, three to a cell.
    pub(crate) async fn of(tenants: usize) -> Self {
        Self::on(TestDatabase::create().await, tenants).await
    }

    /// The same on another database.
    pub(crate) async fn on(database: TestDatabase, tenants: usize) -> Self {
        let mut config = WorldConfig::new(TenantSchema::replaying(set(&[BASELINE]), &["notes"]));
        config.cell_capacity = 10;
        let world = World::on(database, config).await;
        for n in 0..tenants {
            world.tenant(&format!("t{n:02}")).await;
        }
        let admin = world.admin().await;
        Self { world, admin, told: Arc::default() }
    }

    pub(crate) fn fleet(&self, files: &[(&str, &str)]) -> Fleet {
        Fleet::new(&self.world.database.config, set(files))
    }

    pub(crate) fn options() -> Options {
        Options::new(Actor::system("test"))
    }

    /// Remembers what is told.
    pub(crate) fn events(&self) -> Events {
        let told = Arc::clone(&self.told);
        Events::to(move |event| told.lock().unwrap().push(event))
    }

    /// What was told since the last question.
    pub(crate) fn told(&self) -> Vec<Event> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// How many tenants are at a version.
    pub(crate) async fn at(&self, version: i32) -> i64 {
        self.count(&format!("SELECT count(*) FROM public.tenant_placements WHERE schema_version = {version}")).await
    }

    /// How many tenants' schemas have a column.
    pub(crate) async fn columns(&self, table: &str, column: &str) -> i64 {
        self.count(&format!(
            "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname LIKE 'tenant\\_%' AND c.relname = '{table}' AND a.attname = '{column}' AND NOT a.attisdropped"
        ))
        .await
    }

    pub(crate) async fn ledger(&self, state: &str) -> i64 {
        self.count(&format!(
            "SELECT count(*) FROM public.migration_ledger WHERE scope = 'tenant' AND state = '{state}'"
        ))
        .await
    }

    /// Nothing of any run is left over.
    pub(crate) async fn is_tidy(&self) {
        for (what, sql) in [
            ("a running row", "SELECT count(*) FROM public.migration_ledger WHERE state = 'running'"),
            ("an open run", "SELECT count(*) FROM public.migration_runs WHERE ended_at IS NULL"),
            ("an invalid index", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
            (
                "a placement without its ledger row, or the other way round",
                "SELECT count(*) FROM public.tenant_placements p WHERE p.schema_version <> 1 + (SELECT count(*) FILTER (WHERE direction = 'up') \
                 - count(*) FILTER (WHERE direction = 'down') FROM public.migration_ledger l WHERE l.tenant_id = p.tenant_id AND state = 'done')",
            ),
        ] {
            assert_eq!(self.count(sql).await, 0, "{what}");
        }
    }
}
