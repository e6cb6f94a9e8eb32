use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::reports_calls as store;

/// What a tenant or an agent spends now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BurnRate {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its slug; `null` when it is purged.
    #[schema(required)]
    pub slug: Option<String>,
    /// The agent, where agents were asked for; `null` for calls without one.
    #[schema(required)]
    pub agent_id: Option<Uuid>,
    /// Calls of the last five minutes.
    pub calls_5_minutes: i64,
    /// Calls of the last hour.
    pub calls_60_minutes: i64,
    /// Calls of the last hour without a price.
    pub unpriced_calls_60_minutes: i64,
    /// What a minute of the last five cost.
    #[schema(value_type = String, example = "0.421")]
    pub per_minute_5_usd: Decimal,
    /// What a minute of the last sixty cost.
    #[schema(value_type = String, example = "0.118")]
    pub per_minute_60_usd: Decimal,
    /// What the last hour cost.
    #[schema(value_type = String, example = "7.08")]
    pub cost_60_minutes_usd: Decimal,
}

/// Who spends most per minute: tenants or their agents, of the last five minutes or of the last hour.
///
/// # Errors
/// [`DbError`].
pub async fn burn(
    tx: &MeterTx,
    now: DateTime<Utc>,
    by_agent: bool,
    of_an_hour: bool,
    limit: i64,
) -> Result<Vec<BurnRate>, DbError> {
    let rows = store::burn(tx, now, by_agent, of_an_hour, limit).await?;
    let per_minute = |cost: Decimal, minutes: i64| (cost / Decimal::from(minutes)).round_dp(12).normalize();
    let shown = |row: store::Burn| BurnRate {
        tenant_id: row.tenant_id,
        slug: row.slug,
        agent_id: row.agent_id,
        calls_5_minutes: row.calls_5,
        calls_60_minutes: row.calls_60,
        unpriced_calls_60_minutes: row.unpriced_60,
        per_minute_5_usd: per_minute(row.cost_5, 5),
        per_minute_60_usd: per_minute(row.cost_60, 60),
        cost_60_minutes_usd: row.cost_60,
    };
    Ok(rows.into_iter().map(shown).collect())
}
