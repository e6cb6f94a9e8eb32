use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, TenantTx};
use utoipa::ToSchema;

use crate::insight::{Coverage, Measures, PeriodInfo};
use crate::store::analytics::{self, Scope};

/// What every answer says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"period": {"from": "2026-11-01", "to": "2026-11-30", "days": 30, "time_zone": "Asia/Kolkata"},
    "currency": "USD", "data_as_of": "2026-11-24T09:12:31Z", "pending_hours": 0,
    "coverage": {"total_calls": 1200, "priced": 1198, "unpriced": 2, "estimated": 3, "unsettled": 0, "percent_final": 99.58}}))]
#[schema(as = AnalyticsFrame)]
pub struct Frame {
    /// What it is about.
    pub period: PeriodInfo,
    /// The currency of all amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// When the newest call of the tenant was recorded; null when none was. Calls that a server has not shipped yet are not in the answer.
    #[schema(required)]
    pub data_as_of: Option<DateTime<Utc>>,
    /// Hours of the period whose sums are older than their calls: they are made anew within moments.
    pub pending_hours: i64,
    /// How far the sums can be trusted.
    pub coverage: Coverage,
}

/// The frame of an answer that is made of these calls.
pub(super) async fn frame(tx: &mut TenantTx, scope: &Scope, total: &Measures) -> Result<Frame, DbError> {
    let fresh = analytics::freshness(tx, &scope.period).await?;
    Ok(Frame {
        period: scope.period.told(),
        currency: "USD".to_owned(),
        data_as_of: fresh.data_as_of,
        pending_hours: fresh.pending_hours,
        coverage: total.coverage(),
    })
}
