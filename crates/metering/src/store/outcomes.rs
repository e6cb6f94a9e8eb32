//! How tasks ended, counted into days.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterTx, statements};
use uuid::Uuid;

use super::rollup::Hour;

macro_rules! main_provider {
    () => {
        "coalesce(o.provider, (SELECT c.provider FROM analytics.provider_api_calls c \
            WHERE c.tenant_id = o.tenant_id AND c.task_id = o.task_id AND c.kind = 'call' \
            GROUP BY c.provider ORDER BY count(*) DESC, c.provider LIMIT 1), 'none')"
    };
}

statements! {
    /// Tenants of which tasks have ended that are not counted, and their zones.
    WAITING(INT8) = "SELECT DISTINCT o.tenant_id, t.time_zone FROM analytics.task_outcomes o JOIN public.tenants t ON t.id = o.tenant_id \
        WHERE NOT o.counted ORDER BY o.tenant_id LIMIT $1";

    /// Tasks that are not counted, and the days that they are counted on from before.
    UNCOUNTED(UUID, INT8) = "SELECT task_id, finished_at, counted_day FROM analytics.task_outcomes \
        WHERE tenant_id = $1 AND NOT counted ORDER BY finished_at LIMIT $2";

    /// Counts them on new days, those that have not ended once more since they were read.
    COUNT(UUID, UUID_ARRAY, TIMESTAMPTZ_ARRAY, DATE_ARRAY) = concat!("UPDATE analytics.task_outcomes AS o \
        SET counted = true, counted_day = n.day, counted_provider = ", main_provider!(), " \
        FROM unnest($2, $3, $4) AS n(task_id, finished_at, day) \
        WHERE o.tenant_id = $1 AND o.task_id = n.task_id AND o.finished_at = n.finished_at AND NOT o.counted");

    /// Has tasks counted again whose provider is another one with the calls of an hour.
    RECONSIDER(UUID, TIMESTAMPTZ, TIMESTAMPTZ) = concat!("UPDATE analytics.task_outcomes AS o SET counted = false \
        WHERE o.tenant_id = $1 AND o.counted AND o.provider IS NULL AND o.task_id IN (SELECT task_id FROM analytics.provider_api_calls \
            WHERE tenant_id = $1 AND \"timestamp\" >= $2 AND \"timestamp\" < $3 AND task_id IS NOT NULL) \
        AND o.counted_provider IS DISTINCT FROM ", main_provider!());
}

/// A task that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Which.
    pub task: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// The day on which it is counted from an earlier end.
    pub counted_day: Option<NaiveDate>,
}

/// Tenants of which tasks have ended that are not counted, and the names of their zones.
///
/// # Errors
/// [`DbError`].
pub async fn waiting(tx: &MeterTx, most: i64) -> Result<Vec<(TenantId, String)>, DbError> {
    let rows = tx.query(&WAITING, &[&most]).await?;
    Ok(rows.iter().map(|row| (TenantId::from_uuid(row.get(0)), row.get(1))).collect())
}

/// A tenant's tasks that have ended and are not counted, those first that ended first.
///
/// # Errors
/// [`DbError`].
pub async fn uncounted(tx: &MeterTx, tenant: TenantId, most: i64) -> Result<Vec<Ended>, DbError> {
    let rows = tx.query(&UNCOUNTED, &[tenant.as_uuid(), &most]).await?;
    Ok(rows.iter().map(|row| Ended { task: row.get(0), at: row.get(1), counted_day: row.get(2) }).collect())
}

/// Counts tasks on days. The sums of those days, and of the days from before, are to be made in the same transaction.
///
/// # Errors
/// [`DbError`].
pub async fn count(tx: &MeterTx, tenant: TenantId, ended: &[(&Ended, NaiveDate)]) -> Result<u64, DbError> {
    let tasks: Vec<Uuid> = ended.iter().map(|(ended, _)| ended.task).collect();
    let times: Vec<DateTime<Utc>> = ended.iter().map(|(ended, _)| ended.at).collect();
    let days: Vec<NaiveDate> = ended.iter().map(|(_, day)| *day).collect();
    tx.execute(&COUNT, &[tenant.as_uuid(), &tasks, &times, &days]).await
}

/// Has tasks counted again that were counted before calls of an hour came, where these make another provider that of most calls.
///
/// # Errors
/// [`DbError`].
pub async fn reconsider(tx: &MeterTx, hour: &Hour) -> Result<u64, DbError> {
    let end = hour.hour + TimeDelta::hours(1);
    tx.execute(&RECONSIDER, &[hour.tenant.as_uuid(), &hour.hour, &end]).await
}
