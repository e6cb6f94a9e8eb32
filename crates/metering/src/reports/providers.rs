use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;

use super::Place;
use crate::store::reports_calls as store;

/// How a provider answered all tenants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderHealth {
    /// The provider.
    #[schema(example = "openai")]
    pub provider: String,
    /// Tenants that called it.
    pub tenants: i64,
    /// Attempts.
    pub calls: i64,
    /// First attempts; the others are repetitions.
    pub operations: i64,
    /// Attempts that did what was asked.
    pub successful_calls: i64,
    /// The part of attempts that did.
    pub success_rate: f64,
    /// Refused with 429.
    pub rate_limited: i64,
    /// Refused with another 4xx.
    pub client_errors: i64,
    /// Failed with 5xx.
    pub server_errors: i64,
    /// Answers that were cut off.
    pub cut: i64,
    /// Answers that clients did not wait for.
    pub cancelled: i64,
    /// Never seen to end.
    pub unsettled: i64,
    /// Latency of successful attempts: half took no longer.
    #[schema(required)]
    pub latency_p50_ms: Option<i32>,
    /// 95 % took no longer.
    #[schema(required)]
    pub latency_p95_ms: Option<i32>,
    /// 99 % took no longer.
    #[schema(required)]
    pub latency_p99_ms: Option<i32>,
    /// Time to the first token of streams: half took no longer.
    #[schema(required)]
    pub first_token_p50_ms: Option<i32>,
}

/// How providers answered in the hours before now, the busiest first, each with its place.
///
/// # Errors
/// [`DbError`].
pub async fn providers(
    tx: &MeterTx,
    now: DateTime<Utc>,
    hours: i32,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<(Place, ProviderHealth)>, DbError> {
    let rows = store::providers(tx, now, hours, Place::of(after), limit).await?;
    let shown = |row: store::Answered| {
        let place = Place { figure: Decimal::from(row.calls), name: row.provider.clone() };
        let health = ProviderHealth {
            success_rate: rate(row.successful, row.calls),
            provider: row.provider,
            tenants: row.tenants,
            calls: row.calls,
            operations: row.operations,
            successful_calls: row.successful,
            rate_limited: row.rate_limited,
            client_errors: row.client_errors,
            server_errors: row.server_errors,
            cut: row.cut,
            cancelled: row.cancelled,
            unsettled: row.unsettled,
            latency_p50_ms: row.p50,
            latency_p95_ms: row.p95,
            latency_p99_ms: row.p99,
            first_token_p50_ms: row.first_token_p50,
        };
        (place, health)
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// With four decimals.
fn rate(of: i64, whole: i64) -> f64 {
    let ten_thousandths = of.saturating_mul(10_000).checked_div(whole).unwrap_or(0);
    f64::from(i32::try_from(ten_thousandths).unwrap_or(i32::MAX)) / 10_000.0
}
