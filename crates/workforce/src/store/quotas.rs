//! The table `quota_counters`: how much of each limit is used.
//!
//! **Invariant.** Whoever changes what is counted changes the counter in the same transaction, and holds its row until the commit.
//! So a limit is exact however many want the last place, and a rollback gives the place back.
//!
//! **Order.** Counters are locked last, after the graph, tasks and agents that a transaction changes, and among themselves by name.
//! Only what did not exist before is written after its counter, and names of agents are: an agent's name is taken and given
//! back with the counter in hand.
//!
//! A month is one of the company's time zone; the database's clock says which.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_core::calendar::{month_name, month_of};
use tenantry_postgres::{DbError, TenantTx, statements};

use super::column;
use crate::quota::{Counted, Quota};
use crate::{Error, TaskStatus};

/// A CTE that takes a place, or gives no row when there is none, or `$only` does not hold: what follows selects from it.
macro_rules! take {
    ($name:literal, $period:expr, $limit:literal) => {
        take!($name, $period, $limit, only "true")
    };
    ($name:literal, $period:expr, $limit:literal, only $only:expr) => {
        concat!(
            "INSERT INTO tenant.quota_counters AS c (name, period, used) \
             SELECT '",
            $name,
            "', ",
            $period,
            ", 1 WHERE ",
            $only,
            " AND (",
            $limit,
            "::int8 IS NULL OR ",
            $limit,
            " > 0) \
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

/// Periods that may be the present one in some time zone.
macro_rules! current {
    ($period:literal) => {
        concat!($period, " = '' OR ", $period, " >= to_char((now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM')")
    };
}

macro_rules! truth {
    () => {
        "SELECT 'agents', '', count(*) FROM tenant.agents WHERE deleted_at IS NULL \
         UNION ALL SELECT 'concurrent_tasks', '', count(*) FROM tenant.tasks WHERE status = 'in_progress' AND deleted_at IS NULL \
         UNION ALL SELECT 'tasks', $1, count(*) FROM tenant.tasks WHERE created_at >= $2"
    };
}

statements! {
    /// The counters of now, those of the month that may have just ended somewhere included, and one row of the clock alone if there are none.
    READ_QUOTAS() = concat!(
        "SELECT now() AS clock, c.name, c.period, c.used FROM (VALUES (1)) AS one LEFT JOIN tenant.quota_counters c ON ", current!("c.period")
    );
    /// The database's clock.
    READ_CLOCK() = "SELECT now() AS clock";
    /// Holds some counters in their order.
    HOLD_COUNTERS(TEXT_ARRAY) = concat!(
        "SELECT name FROM tenant.quota_counters WHERE name = ANY ($1) AND (", current!("period"), ") ORDER BY name, period FOR NO KEY UPDATE"
    );
    /// How many tasks are in progress, and hold it so.
    HOLD_RUNNING() =
        "SELECT used FROM tenant.quota_counters WHERE name = 'concurrent_tasks' AND period = '' FOR NO KEY UPDATE";
    /// One more task is in progress.
    START_TASK(INT8) = take!("concurrent_tasks", "''", "$1");
    /// One less is.
    STOP_TASK() =
        "UPDATE tenant.quota_counters SET used = greatest(used - 1, 0) WHERE name = 'concurrent_tasks' AND period = ''";
    /// For the measurement of the fleet: each counter's use by its name.
    MEASURE_QUOTAS(TEXT) = "SELECT name, used FROM tenant.quota_counters WHERE period = '' OR period = $1";
    /// Holds all counters, so that what they count stands still.
    HOLD_QUOTAS() = "SELECT name FROM tenant.quota_counters ORDER BY name, period FOR UPDATE";
    /// The counters that do not say what there is.
    VERIFY_QUOTAS(TEXT, TIMESTAMPTZ) = concat!(
        "SELECT t.name, t.period, t.truth, coalesce(c.used, 0) AS used \
         FROM (", truth!(), ") AS t (name, period, truth) LEFT JOIN tenant.quota_counters c USING (name, period) \
         WHERE t.truth <> coalesce(c.used, 0) ORDER BY t.name"
    );
    /// Counts anew.
    REPAIR_QUOTAS(TEXT, TIMESTAMPTZ) = concat!(
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

/// The company's month, by which tasks are counted.
fn month(tx: &TenantTx, now: DateTime<Utc>) -> String {
    month_name(now, tx.tenant().time_zone)
}

/// The company's month at some time, for a statement that makes sure by the database's clock that it is the present one.
pub(super) struct Month {
    pub(super) name: String,
    pub(super) span: Range<DateTime<Utc>>,
}

impl Month {
    pub(super) fn at(tx: &TenantTx, time: DateTime<Utc>) -> Self {
        Self { name: month(tx, time), span: month_of(time, tx.tenant().time_zone) }
    }
}

/// The company's month, and when it began.
async fn present(tx: &mut TenantTx) -> Result<(String, DateTime<Utc>), Error> {
    let row = tx.query_one(&READ_CLOCK, &[]).await?;
    let now: DateTime<Utc> = column!(row, "clock");
    Ok((month(tx, now), month_of(now, tx.tenant().time_zone).start))
}

/// Holds counters, before the first of them is changed, for whoever changes more than one or changes other things in between.
pub(crate) async fn hold(tx: &mut TenantTx, quotas: &[Quota]) -> Result<(), Error> {
    let names: Vec<&str> = quotas.iter().map(|quota| quota.as_str()).collect();
    if !names.is_empty() {
        tx.query(&HOLD_COUNTERS, &[&names]).await?;
    }
    Ok(())
}

/// How many more tasks may be started: they stay free for the transaction that asks. `None` is unlimited.
pub(super) async fn places(tx: &mut TenantTx) -> Result<Option<i64>, Error> {
    let Some(limit) = limit(tx, Quota::ConcurrentTasks) else { return Ok(None) };
    let used: i64 = match tx.query_opt(&HOLD_RUNNING, &[]).await? {
        Some(row) => column!(row, "used"),
        None => 0,
    };
    Ok(Some((limit - used).max(0)))
}

/// What is used now; one statement.
///
/// # Errors
/// Only the database's.
pub async fn counted(tx: &mut TenantTx) -> Result<Counted, Error> {
    let rows = tx.query(&READ_QUOTAS, &[]).await?;
    let first = rows.first().ok_or(DbError::Misuse("the clock was not read"))?;
    let now: DateTime<Utc> = column!(first, "clock");
    let month = month(tx, now);
    let month_ends = month_of(now, tx.tenant().time_zone).end;
    let mut counted = Counted { agents: 0, tasks: 0, concurrent_tasks: 0, month_ends, now };
    for row in &rows {
        let (name, period): (Option<&str>, Option<&str>) = (column!(row, "name"), column!(row, "period"));
        let used: Option<i64> = column!(row, "used");
        let used = used.unwrap_or_default();
        match Quota::ALL.into_iter().find(|quota| name == Some(quota.as_str())) {
            Some(Quota::Agents) => counted.agents = used,
            Some(Quota::ConcurrentTasks) => counted.concurrent_tasks = used,
            Some(Quota::Tasks) if period == Some(month.as_str()) => counted.tasks = used,
            _ => {}
        }
    }
    Ok(counted)
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

/// Keeps the count of tasks in progress when one has changed its status. After its agent has followed.
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

/// Compares the counters with what they count, in one moment's view.
///
/// # Errors
/// Only the database's.
pub async fn verify(tx: &mut TenantTx) -> Result<Vec<Miscount>, Error> {
    let (month, since) = present(tx).await?;
    let mut found = Vec::new();
    for row in tx.query(&VERIFY_QUOTAS, &[&month, &since]).await? {
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
    tx.query(&HOLD_QUOTAS, &[]).await?;
    let (month, since) = present(tx).await?;
    tx.execute(&REPAIR_QUOTAS, &[&month, &since]).await?;
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
