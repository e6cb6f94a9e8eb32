//! The table `quota_counters`: how much of each limit is used.
//!
//! **Invariant.** Whoever changes what is counted changes the counter in the same transaction, and holds its row until the commit.
//! So a limit is exact however many want the last place, and a rollback gives the place back. The row is locked before what
//! is counted by it is written, also by deletions: two that lock in different orders would wait for each other.

use serde::Serialize;
use tenantry_postgres::{Tenant, TenantTx, statements};

use super::column;
use crate::quota::{Counted, Quota};
use crate::{Error, TaskStatus};

/// The month that a task created now counts in. Months are of one time zone, whose name is a parameter.
macro_rules! month {
    ($zone:literal) => {
        concat!("to_char(now() AT TIME ZONE ", $zone, ", 'YYYY-MM')")
    };
}
pub(super) use month;

/// A CTE that takes a place, or gives no row when there is none: what follows selects from it.
macro_rules! take {
    ($name:literal, $period:expr, $limit:literal) => {
        concat!(
            "INSERT INTO tenant.quota_counters AS c (name, period, used) \
             SELECT '",
            $name,
            "', ",
            $period,
            ", 1 WHERE ",
            $limit,
            "::int8 IS NULL OR ",
            $limit,
            " > 0 \
             ON CONFLICT (name, period) DO UPDATE SET used = c.used + 1 \
             WHERE ",
            $limit,
            "::int8 IS NULL OR c.used < ",
            $limit,
            " RETURNING 1"
        )
    };
}
pub(super) use take;

macro_rules! truth {
    () => {
        "SELECT 'agents', '', count(*) FROM tenant.agents WHERE deleted_at IS NULL \
         UNION ALL SELECT 'concurrent_tasks', '', count(*) FROM tenant.tasks WHERE status = 'in_progress' AND deleted_at IS NULL \
         UNION ALL SELECT 'tasks', to_char(now() AT TIME ZONE $1, 'YYYY-MM'), count(*) FROM tenant.tasks \
           WHERE created_at >= date_trunc('month', now(), $1)"
    };
}

statements! {
    /// All counters of now, and when the month ends.
    READ_QUOTAS(TEXT) = concat!(
        "SELECT coalesce(sum(used) FILTER (WHERE name = 'agents'), 0)::int8 AS agents, \
           coalesce(sum(used) FILTER (WHERE name = 'tasks'), 0)::int8 AS tasks, \
           coalesce(sum(used) FILTER (WHERE name = 'concurrent_tasks'), 0)::int8 AS concurrent_tasks, \
           date_trunc('month', now(), $1) + interval '1 month' AS month_ends, now() AS clock \
         FROM tenant.quota_counters WHERE period = '' OR period = ", month!("$1")
    );
    /// One more task is in progress.
    START_TASK(INT8) = take!("concurrent_tasks", "''", "$1");
    /// One less is.
    STOP_TASK() =
        "UPDATE tenant.quota_counters SET used = greatest(used - 1, 0) WHERE name = 'concurrent_tasks' AND period = ''";
    /// For the measurement of the fleet, which has no parameters: each counter's use by its name.
    MEASURE_QUOTAS() = concat!(
        "SELECT name, used FROM tenant.quota_counters WHERE period = '' OR period = ", month!("'UTC'")
    );
    /// Holds all counters, so that what they count stands still.
    HOLD_QUOTAS() = "SELECT name FROM tenant.quota_counters ORDER BY name, period FOR UPDATE";
    /// The counters that do not say what there is.
    VERIFY_QUOTAS(TEXT) = concat!(
        "SELECT t.name, t.period, t.truth, coalesce(c.used, 0) AS used \
         FROM (", truth!(), ") AS t (name, period, truth) LEFT JOIN tenant.quota_counters c USING (name, period) \
         WHERE t.truth <> coalesce(c.used, 0) ORDER BY t.name"
    );
    /// Counts anew.
    REPAIR_QUOTAS(TEXT) = concat!(
        "INSERT INTO tenant.quota_counters (name, period, used) ", truth!(),
        " ON CONFLICT (name, period) DO UPDATE SET used = excluded.used"
    );
}

/// A counter that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miscount {
    /// Which.
    pub name: String,
    /// Of which month; empty for what is not counted by the month.
    pub period: String,
    /// What it said.
    pub used: i64,
    /// What there is.
    pub truth: i64,
}

/// The time zone of a company's months: where a task counts, and when the count begins anew, is decided here alone.
pub(super) fn zone(_tenant: &Tenant) -> &'static str {
    "UTC"
}

/// What is used now; one statement.
///
/// # Errors
/// Only the database's.
pub async fn counted(tx: &mut TenantTx) -> Result<Counted, Error> {
    let zone = zone(tx.tenant());
    let row = tx.query_one(&READ_QUOTAS, &[&zone]).await?;
    Ok(Counted {
        agents: column!(row, "agents"),
        tasks: column!(row, "tasks"),
        concurrent_tasks: column!(row, "concurrent_tasks"),
        month_ends: column!(row, "month_ends"),
        now: column!(row, "clock"),
    })
}

/// Refuses what would add to a storage that is full. The layer in front of the endpoints refuses as well; this holds for work
/// that comes from elsewhere, such as schedules.
pub(super) fn may_grow(tx: &TenantTx) -> Result<(), Error> {
    if tx.tenant().storage_frozen { Err(Error::StorageFrozen) } else { Ok(()) }
}

/// How much of a quota there may be, as the registry has it at this moment.
pub(super) fn limit(tx: &TenantTx, quota: Quota) -> Option<i64> {
    quota.limit(&tx.tenant().limits)
}

/// Why there was no place.
pub(super) async fn exceeded(tx: &mut TenantTx, quota: Quota) -> Error {
    let counted = match counted(tx).await {
        Ok(counted) => counted,
        Err(error) => return error,
    };
    Error::QuotaExceeded {
        quota,
        limit: limit(tx, quota).unwrap_or_default(),
        used: counted.of(quota),
        resets_at: (quota == Quota::Tasks).then_some(counted.month_ends),
    }
}

/// Keeps the count of tasks in progress when one changes its status. Before the task is written.
pub(super) async fn follow(tx: &mut TenantTx, from: TaskStatus, to: TaskStatus) -> Result<(), Error> {
    let runs = |status| status == TaskStatus::InProgress;
    if runs(to) && !runs(from) {
        let limit = limit(tx, Quota::ConcurrentTasks);
        if tx.query_opt(&START_TASK, &[&limit]).await?.is_none() {
            return Err(exceeded(tx, Quota::ConcurrentTasks).await);
        }
    } else if runs(from) && !runs(to) {
        tx.execute(&STOP_TASK, &[]).await?;
    }
    Ok(())
}

/// Compares the counters with what they count, in one moment's view; one statement.
///
/// # Errors
/// Only the database's.
pub async fn verify(tx: &mut TenantTx) -> Result<Vec<Miscount>, Error> {
    let zone = zone(tx.tenant());
    let mut found = Vec::new();
    for row in tx.query(&VERIFY_QUOTAS, &[&zone]).await? {
        found.push(Miscount {
            name: column!(row, "name"),
            period: column!(row, "period"),
            used: column!(row, "used"),
            truth: column!(row, "truth"),
        });
    }
    Ok(found)
}

/// Counts anew, after rows were made past the functions that count them.
pub(crate) async fn recount(tx: &mut TenantTx) -> Result<(), Error> {
    let zone = zone(tx.tenant());
    tx.query(&HOLD_QUOTAS, &[]).await?;
    tx.execute(&REPAIR_QUOTAS, &[&zone]).await?;
    Ok(())
}

/// Counts anew what is wrong. Whoever creates meanwhile waits and is counted after it.
///
/// # Errors
/// Only the database's.
pub async fn repair(tx: &mut TenantTx) -> Result<Vec<Miscount>, Error> {
    tx.query(&HOLD_QUOTAS, &[]).await?;
    let found = verify(tx).await?;
    if !found.is_empty() {
        recount(tx).await?;
        tx.audit("quota.repair", "quota", serde_json::json!({ "miscounts": found }));
    }
    Ok(found)
}
