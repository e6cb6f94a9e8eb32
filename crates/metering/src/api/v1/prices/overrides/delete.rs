use axum::extract::State;
use axum::http::StatusCode;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;

use super::changed;
use crate::Metering;
use crate::store::overrides;

/// Removes an override: calls that are recorded from now on cost what the catalogue says, those that were recorded stay as they are.
#[utoipa::path(
    delete,
    path = "/v1/prices/overrides/{id}",
    operation_id = "delete_price_override",
    tag = "prices",
    params(("id" = Uuid, Path, description = "the override's id")),
    responses(
        Common,
        (status = 204, description = "removed"),
        (status = 404, description = "no override has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_price_override(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<StatusCode, Problem> {
    let mut tx = db.begin(&context).await?;
    match overrides::delete(&mut tx, id).await {
        Ok(()) => tx.commit().await?,
        Err(problem) => {
            // here and now, so that the connection is free before the answer is written
            tx.rollback().await?;
            return Err(problem);
        }
    }
    changed(&metering).await;
    Ok(StatusCode::NO_CONTENT)
}
