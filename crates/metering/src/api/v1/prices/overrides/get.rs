use axum::Json;
use axum::extract::State;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;

use super::super::model::PriceOverride;
use crate::store::overrides;

/// Reads an override.
#[utoipa::path(
    get,
    path = "/v1/prices/overrides/{id}",
    operation_id = "get_price_override",
    tag = "prices",
    params(("id" = Uuid, Path, description = "the override's id")),
    responses(
        Common,
        (status = 200, description = "the override", body = PriceOverride),
        (status = 404, description = "no override has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_price_override(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Json<PriceOverride>, Problem> {
    let mut tx = db.single(&context).await?;
    Ok(Json(overrides::find(&mut tx, id).await?))
}
