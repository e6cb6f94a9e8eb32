//! The sets that a database has once: registry and analytics. `init` and every run of the fleet apply them, by this code.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use tenantry_core::quote_literal;
use tokio_postgres::Client;

use super::error::MigrateError;
use super::source::{Migration, MigrationSet, Scope};
use crate::connect::Logins;
use crate::error::DbError;

/// The lock under which roles, registry and analytics are changed.
pub(crate) const PREPARE_LOCK: i64 = 7_468_657_461;

const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

macro_rules! files {
    ($directory:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../migrations/", $directory, "/", $file)))),+]
    };
}

static SETS: LazyLock<[MigrationSet; 2]> = LazyLock::new(|| {
    let set = |scope, files: &[(&str, &str)]| MigrationSet::new(scope, files).expect("the embedded files are a set");
    [
        set(
            Scope::Registry,
            files!(
                "registry":
                "0001_baseline.sql",
                "0002_fleet.sql",
                "0003_warm.sql",
                "0004_schedules.sql",
                "0005_audit_chain.sql",
                "0006_members.sql",
                "0007_billing.sql",
                "0008_secrets.sql",
                "0009_quotas.sql",
            ),
        ),
        set(
            Scope::Analytics,
            files!(
                "analytics":
                "0001_baseline.sql",
                "0002_metering.sql",
                "0003_budgets.sql",
                "0004_prices.sql",
                "0005_reports.sql",
                "0006_shipping.sql",
                "0007_purged_tenants.sql",
                "0008_audit.sql",
            ),
        ),
    ]
});

/// Registry and analytics, in the order in which they are applied.
pub(crate) fn sets() -> &'static [MigrationSet] {
    &*SETS
}

/// What a set of applied versions lacks for this program.
pub(crate) fn missing(versions: &BTreeMap<String, i32>) -> impl Iterator<Item = String> {
    sets().iter().flat_map(|set| {
        let applied = versions.get(set.scope().as_str()).copied().unwrap_or(0);
        set.after(applied).iter().map(|migration| format!("{} {}", set.scope(), migration.label()))
    })
}

/// What `public.schema_migrations` says of one scope: each applied version with the checksum of its text.
pub(crate) async fn applied(client: &Client, scope: Scope) -> Result<BTreeMap<i32, Vec<u8>>, DbError> {
    let exists = client.query_typed("SELECT to_regclass('public.schema_migrations') IS NOT NULL", &[]).await?;
    if !exists.first().is_some_and(|row| row.get(0)) {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT version, checksum FROM public.schema_migrations WHERE scope = {}",
        quote_literal(scope.as_str())
    );
    let rows = client.query_typed(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Refuses a database that is ahead of a set, or whose applied steps had another text.
pub(crate) fn check(set: &MigrationSet, applied: &BTreeMap<i32, Vec<u8>>) -> Result<(), MigrateError> {
    let scope = set.scope();
    if let Some(&database) = applied.keys().next_back().filter(|version| **version > set.latest()) {
        return Err(MigrateError::Ahead { scope, database, program: set.latest() });
    }
    for (version, checksum) in applied {
        if let Some(migration) = set.get(*version).filter(|migration| migration.checksum[..] != checksum[..]) {
            return Err(MigrateError::Changed { scope, label: migration.label() });
        }
    }
    Ok(())
}

/// Applies what is missing, each step in a transaction of its own, and tells `on_step` of each.
pub(crate) async fn apply(client: &Client, mut on_step: impl FnMut(Scope, &Migration)) -> Result<(), MigrateError> {
    let mut ready = true;
    for set in sets() {
        let applied = applied(client, set.scope()).await?;
        check(set, &applied)?;
        ready &= applied.len() == set.all().len();
    }
    if ready {
        return Ok(());
    }
    // Two at once, perhaps an `init`: the second waits and then finds everything done.
    client.batch_execute(&format!("SELECT pg_advisory_lock({PREPARE_LOCK})")).await?;
    let outcome = apply_locked(client, &mut on_step).await;
    client.batch_execute(&format!("SELECT pg_advisory_unlock({PREPARE_LOCK})")).await?;
    outcome
}

async fn apply_locked(client: &Client, on_step: &mut impl FnMut(Scope, &Migration)) -> Result<(), MigrateError> {
    for set in sets() {
        let applied = applied(client, set.scope()).await?;
        for migration in set.all().iter().filter(|migration| !applied.contains_key(&migration.version)) {
            step(client, set.scope(), migration).await?;
            on_step(set.scope(), migration);
        }
    }
    Ok(())
}

/// Servers read these tables all the time: a step that waits for a lock makes them wait behind it, so it waits shortly and often.
async fn step(client: &Client, scope: Scope, migration: &Migration) -> Result<(), MigrateError> {
    let text = text(scope, migration);
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match client.batch_execute(&text).await.map_err(DbError::from) {
            Ok(()) => return Ok(()),
            Err(DbError::LockTimeout(_)) if tries > 0 => tokio::time::sleep(PAUSE).await,
            Err(source) => return Err(MigrateError::Shared { scope, label: migration.label(), source }),
        }
    }
}

/// One message is one transaction: an error leaves nothing, also not an open transaction.
fn text(scope: Scope, migration: &Migration) -> String {
    let scope = quote_literal(scope.as_str());
    let checksum = hex(&migration.checksum);
    let (version, name) = (migration.version, quote_literal(&migration.name));
    format!(
        "SET LOCAL lock_timeout = '2s'; SET LOCAL ROLE {owner}; SET LOCAL search_path = pg_catalog, pg_temp;\n{up}\n;\n\
         INSERT INTO public.schema_migrations (scope, version, name, checksum) VALUES ({scope}, {version}, {name}, {checksum}); \
         DO $tenantry$ BEGIN IF to_regclass('public.migration_ledger') IS NOT NULL THEN \
           INSERT INTO public.migration_ledger (scope, version, direction, state, started_at, finished_at, duration_ms, checksum) \
           VALUES ({scope}, {version}, 'up', 'done', now(), clock_timestamp(), extract(epoch FROM clock_timestamp() - now()) * 1000, {checksum}); \
         END IF; END $tenantry$; RESET ROLE",
        owner = Logins::OWNER,
        up = migration.up,
    )
}

/// A checksum as an SQL expression.
pub(super) fn hex(checksum: &[u8]) -> String {
    let digits: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("decode('{digits}', 'hex')")
}
