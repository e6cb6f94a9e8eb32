use std::sync::Arc;
use std::time::Instant;

use tenantry_core::{Clock, SystemClock, quote_literal};
use tokio_postgres::Client;

use super::error::MigrateError;
use super::event::{Event, Events, Outcome, Report};
use super::keeper::Keeper;
use super::options::{Options, millis};
use super::plan;
use super::run::Run;
use super::shared::{self, hex};
use super::source::{MigrationSet, Scope};
use super::step::{Direction, KILLED};
use crate::clients::Clients;
use crate::config::DatabaseConfig;
use crate::connect::Logins;
use crate::error::DbError;

/// Migrates all tenants of a database, and the registry and analytics beside them. Cheap to clone.
///
/// A run can be killed at any moment, by whatever means: run again, it does what is left. Each tenant's version stands in its placement
/// and changes in the transaction that changes its schema.
#[derive(Clone)]
pub struct Fleet {
    pub(super) database: DatabaseConfig,
    pub(super) set: Arc<MigrationSet>,
    pub(super) clients: Clients,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("database", &self.database.address())
            .field("set", &self.set)
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// Opens nothing yet. `tenants` is the domain's set.
    #[must_use]
    pub fn new(database: &DatabaseConfig, tenants: MigrationSet) -> Self {
        Self {
            database: database.clone(),
            set: Arc::new(tenants),
            clients: Clients::new(database.clone(), Logins::MIGRATOR, 2),
            clock: Arc::new(SystemClock),
        }
    }

    /// Takes the time from `clock`, by which maintenance windows open and close.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The tenants' set.
    #[must_use]
    pub fn set(&self) -> &MigrationSet {
        &self.set
    }

    /// Brings registry, analytics and every tenant to the latest version, or the tenants to `options.to`.
    ///
    /// A tenant that fails is in the report, and the others go on unless the stop rule ends the run.
    ///
    /// # Errors
    /// [`MigrateError`] when the run does not begin or cannot go on; what was done until then stays done.
    pub async fn up(&self, options: &Options, events: &Events) -> Result<Report, MigrateError> {
        let latest = self.set.latest();
        let target = options.to.unwrap_or(latest);
        if !(0..=latest).contains(&target) {
            return Err(MigrateError::NoVersion { asked: target, latest });
        }
        Box::pin(self.run(Direction::Up, target, options, events)).await
    }

    /// Takes every tenant back to a version, the latest step first. Registry and analytics are left as they are.
    ///
    /// # Errors
    /// [`MigrateError::NoDown`] when a step on the way cannot be undone, otherwise as [`up`](Self::up).
    pub async fn down(&self, to: i32, options: &Options, events: &Events) -> Result<Report, MigrateError> {
        let latest = self.set.latest();
        if !(0..=latest).contains(&to) {
            return Err(MigrateError::NoVersion { asked: to, latest });
        }
        Box::pin(self.run(Direction::Down, to, options, events)).await
    }

    async fn run(
        &self,
        direction: Direction,
        target: i32,
        options: &Options,
        events: &Events,
    ) -> Result<Report, MigrateError> {
        let keeper = Keeper::take(&self.database, options.patience).await?;
        let outcome = self.run_locked(&keeper, direction, target, options, events).await;
        keeper.release().await;
        outcome
    }

    async fn run_locked(
        &self,
        keeper: &Keeper,
        direction: Direction,
        target: i32,
        options: &Options,
        events: &Events,
    ) -> Result<Report, MigrateError> {
        let begun = Instant::now();
        let client = keeper.client().await?;
        let step = |scope, migration: &super::Migration| {
            events.send(Event::Applied { scope, migration: migration.label() });
        };
        // The first step of the registry is `init`'s: it needs rights that nobody has at run time.
        if shared::applied(&client, Scope::Registry).await?.is_empty() {
            return Err(MigrateError::NotPrepared);
        }
        shared::apply(&client, step).await?;
        heal(&client).await?;
        plan::check_slugs(&client, options).await?;
        let highest = self.check_set(&client).await?;
        if direction == Direction::Down {
            let way = self.set.after(target).iter().filter(|migration| migration.version <= highest);
            if let Some(stays) = way.rev().find(|migration| migration.down.is_none()) {
                return Err(MigrateError::NoDown(stays.label()));
            }
        }
        let recorded = self.record_known(&client, highest).await?;
        let pending = plan::pending(&client, direction == Direction::Down, target, options).await?;
        if pending.is_empty() {
            if direction == Direction::Down {
                // A run that was killed at its end has not come to it.
                self.forget_undone(&client).await?;
            }
            let report = Report {
                run: None,
                direction: direction.as_str(),
                target,
                outcome: Outcome::Nothing,
                migrated: 0,
                skipped: 0,
                remaining: 0,
                failed: Vec::new(),
                duration_ms: millis(begun.elapsed()),
            };
            events.send(Event::Finished(report.clone()));
            return Ok(report);
        }
        let id = begin(&client, direction, target, options).await?;
        drop(client);
        let clock = &*self.clock;
        let run = Run::new(&self.database, &self.set, options, events, clock, keeper, id, direction, target, recorded);
        let report = run.all(pending).await?;
        if direction == Direction::Down {
            self.forget_undone(&*keeper.client().await?).await?;
        }
        Ok(report)
    }

    /// Compares the database with the set; gives the highest version that a tenant is at.
    pub(super) async fn check_set(&self, client: &Client) -> Result<i32, MigrateError> {
        shared::check(&self.set, &shared::applied(client, Scope::Tenant).await?)?;
        let versions = plan::versions(client).await?;
        let highest = versions.keys().next_back().copied().unwrap_or(0);
        if highest > self.set.latest() {
            return Err(MigrateError::Ahead { scope: Scope::Tenant, database: highest, program: self.set.latest() });
        }
        Ok(highest)
    }

    /// Notes the versions that some tenant has although nobody migrated it: new tenants get them at once.
    async fn record_known(&self, client: &Client, highest: i32) -> Result<i32, DbError> {
        let applied = shared::applied(client, Scope::Tenant).await?;
        let unknown = self.set.all().iter().filter(|m| m.version <= highest && !applied.contains_key(&m.version));
        let rows: Vec<String> = unknown
            .map(|m| format!("('tenant', {}, {}, {})", m.version, quote_literal(&m.name), hex(&m.checksum)))
            .collect();
        if !rows.is_empty() {
            let sql = format!(
                "INSERT INTO public.schema_migrations (scope, version, name, checksum) VALUES {} ON CONFLICT DO NOTHING",
                rows.join(", ")
            );
            client.batch_execute(&sql).await?;
        }
        Ok(applied.keys().next_back().copied().unwrap_or(0).max(highest))
    }

    /// A version that no tenant has any more may be written anew.
    async fn forget_undone(&self, client: &Client) -> Result<(), DbError> {
        let sql = "DELETE FROM public.schema_migrations WHERE scope = 'tenant' \
                   AND version > (SELECT max(schema_version) FROM public.tenant_placements)";
        Ok(client.batch_execute(sql).await?)
    }
}

/// Whoever holds the lock is the only run: all others that have not ended are dead.
async fn heal(client: &Client) -> Result<(), DbError> {
    let sql = format!(
        "UPDATE public.migration_ledger SET state = 'failed', finished_at = clock_timestamp(), error = '{KILLED}' WHERE state = 'running'; \
         UPDATE public.migration_runs SET outcome = 'killed', ended_at = clock_timestamp() WHERE ended_at IS NULL"
    );
    Ok(client.batch_execute(&sql).await?)
}

/// The run's row and its audit event.
async fn begin(client: &Client, direction: Direction, target: i32, options: &Options) -> Result<i64, DbError> {
    let direction = direction.as_str();
    let settings = options.settings();
    let details = serde_json::json!({ "direction": direction, "target": target, "settings": &settings });
    let sql = format!(
        "WITH run AS (INSERT INTO public.migration_runs (direction, target, actor_kind, actor, settings) \
             VALUES ('{direction}', {target}, {kind}, {name}, {settings}) RETURNING id), \
         told AS (INSERT INTO audit.events (actor_kind, actor, action, target, details) \
             SELECT {kind}, {name}, 'fleet.migrate.begin', 'migration_run/' || id, {details}::jsonb FROM run) \
         SELECT id FROM run",
        kind = quote_literal(options.actor.kind),
        name = quote_literal(&options.actor.name),
        settings = quote_literal(&settings.to_string()),
        details = quote_literal(&details.to_string()),
    );
    let rows = client.query_typed(&sql, &[]).await?;
    rows.first().map(|row| row.get(0)).ok_or(DbError::Misuse("a statement for one row gave none"))
}

#[expect(dead_code, reason = "checked by the compiler: a run can be sent to another thread")]
fn runs_are_send(fleet: &Fleet, options: &Options, events: &Events) {
    fn is_send(_: impl Send) {}
    is_send(fleet.up(options, events));
}
