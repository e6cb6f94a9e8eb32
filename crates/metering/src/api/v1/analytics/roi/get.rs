use axum::Json;
use axum::extract::State;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use workforce::{List, Position};

use super::{RoiAnswer, calculate};
use crate::Metering;
use crate::api::v1::analytics::frame::frame;
use crate::api::v1::analytics::query::question;
use crate::api::v1::analytics::savings::assumptions;
use crate::store::analytics::roi;

question! {
    /// Which calls, and which page of what is stored.
    RoiQuery {
        /// How many stored calculations, 1 to 200; 50 unless given.
        #[param(minimum = 1, maximum = 200)]
        limit: Option<i64>,
        /// `next_cursor` of the page before.
        cursor: Option<String>,
    }
}

/// Calculates the return of a period as it is now, and lists the calculations that were stored.
#[utoipa::path(
    get,
    path = "/v1/analytics/roi",
    operation_id = "get_roi",
    tag = "analytics",
    params(RoiQuery),
    responses(Common, (status = 200, description = "the return of the period, and stored calculations", body = RoiAnswer)),
)]
pub(super) async fn get_roi(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<RoiQuery>,
) -> Result<Json<RoiAnswer>, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::RoiCalculations)).transpose()?;
    let mut tx = db.snapshot(&context).await?;
    let (total, now, tasks_completed) = calculate(&mut tx, &scope).await?;
    let stored = roi::list(&mut tx, after, limit).await?;
    let frame = frame(&mut tx, &scope, &total).await?;
    tx.commit().await?;
    Ok(Json(RoiAnswer { frame, roi: now, tasks_completed, assumptions: assumptions(), stored }))
}
