mod create;
mod get;

use axum::extract::FromRef;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, TenantDb, TenantTx};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workforce::Page;

use super::frame::Frame;
use crate::Metering;
use crate::insight::{Measures, Roi, RoiCalculation};
use crate::store::analytics::{Scope, roi, tasks};

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(get::get_roi, create::create_roi))
}

/// The return of a period as it is now, and what was stored before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RoiAnswer {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// As the calls are now.
    #[serde(flatten)]
    pub roi: Roi,
    /// Tasks completed in the period; null with filters that tasks do not know.
    #[schema(required)]
    pub tasks_completed: Option<i64>,
    /// What the figures take for granted.
    pub assumptions: Vec<String>,
    /// Stored calculations of any period, the newest first.
    pub stored: Page<RoiCalculation>,
}

/// The period whose calculation is to be stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": "2026-11-01", "to": "2026-11-30"}))]
pub struct RoiRequest {
    /// The first day, of the tenant's time zone; as the parameter of the questions.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
}

/// All sums of a period, its return, and its completed tasks.
async fn calculate(tx: &mut TenantTx, scope: &Scope) -> Result<(Measures, Roi, Option<i64>), DbError> {
    let (sums, covered) = roi::covered(tx, scope).await?;
    let completed = if scope.is_beyond_providers_and_agents() {
        None
    } else {
        let between = (scope.period.starts_at(), scope.period.ends_at());
        let ended = tasks::outcomes(tx, between, scope.agent_id).await?;
        let ours = ended.iter().filter(|ended| scope.provider.is_none() || ended.provider == scope.provider);
        Some(ours.map(|ended| ended.completed).sum())
    };
    Ok((sums, covered.roi(), completed))
}
