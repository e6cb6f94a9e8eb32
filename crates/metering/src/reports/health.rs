use chrono::{DateTime, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;

use crate::store::{bills, reports, reports_calls};

/// Days of bills that are compared with what was captured; older ones were looked at before.
const BILLS: u64 = 35;

/// How the metering of all tenants does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MeteringHealth {
    /// When this was so.
    pub at: DateTime<Utc>,
    /// How fast calls reach the database.
    pub ingest: IngestHealth,
    /// How old the sums are.
    pub rollup: RollupHealth,
    /// What is not sure of the last 24 hours.
    pub last_24_hours: LastDay,
    /// The day of the last 35 of which least of the provider's bill was captured; `null` when no bill was imported.
    #[schema(required)]
    pub least_captured: Option<Captured>,
    /// Months after this one that have their partitions.
    pub partitions_ahead: i64,
}

/// How fast calls through the gateway reach the database, of the last hour: from the end of a call to its row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IngestHealth {
    /// Calls.
    pub calls: i64,
    /// When the last one was recorded.
    #[schema(required)]
    pub last_recorded_at: Option<DateTime<Utc>>,
    /// Half took no longer.
    #[schema(required)]
    pub lag_p50_seconds: Option<f64>,
    /// 95 % took no longer.
    #[schema(required)]
    pub lag_p95_seconds: Option<f64>,
    /// None took longer.
    #[schema(required)]
    pub lag_longest_seconds: Option<f64>,
}

/// How old the sums of hours are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RollupHealth {
    /// Hours whose sums are older than their calls.
    pub dirty_hours: i64,
    /// Since when the one that has waited longest.
    #[schema(required)]
    pub oldest_dirty_at: Option<DateTime<Utc>>,
    /// How long that is.
    pub lag_seconds: i64,
}

/// What is not sure of 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastDay {
    /// Attempts.
    pub calls: i64,
    /// Of them without a price.
    pub unpriced_calls: i64,
    /// Of them with tokens that we counted.
    pub estimated_calls: i64,
    /// Of them never seen to end.
    pub unsettled_calls: i64,
    /// What they cost.
    #[schema(value_type = String, example = "412.339900000000")]
    pub cost_usd: Decimal,
}

/// How much of a bill was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Captured {
    /// The provider.
    pub provider: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The part of the bill.
    #[schema(value_type = String, example = "0.996799")]
    pub part: Decimal,
}

/// How the metering does, as the database shows it.
///
/// # Errors
/// [`DbError`].
pub async fn health(tx: &MeterTx, now: DateTime<Utc>) -> Result<MeteringHealth, DbError> {
    let sums = reports::health(tx, now).await?;
    let ingest = reports_calls::ingest(tx, now).await?;
    let since = now.date_naive().checked_sub_days(Days::new(BILLS)).unwrap_or_default();
    let least = bills::least_captured(tx, since).await?;
    let lag = sums.oldest_dirty.map_or(0, |since| (now - since).num_seconds().max(0));
    let milliseconds = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1000.0).round() / 1000.0);
    Ok(MeteringHealth {
        at: now,
        ingest: IngestHealth {
            calls: ingest.calls,
            last_recorded_at: ingest.last_recorded,
            lag_p50_seconds: milliseconds(ingest.p50),
            lag_p95_seconds: milliseconds(ingest.p95),
            lag_longest_seconds: milliseconds(ingest.longest),
        },
        rollup: RollupHealth { dirty_hours: sums.dirty_hours, oldest_dirty_at: sums.oldest_dirty, lag_seconds: lag },
        last_24_hours: LastDay {
            calls: sums.calls,
            unpriced_calls: sums.unpriced,
            estimated_calls: sums.estimated,
            unsettled_calls: sums.unsettled,
            cost_usd: sums.cost,
        },
        least_captured: least.map(|(provider, day, part)| Captured { provider, day, part }),
        partitions_ahead: sums.partitions_ahead,
    })
}
