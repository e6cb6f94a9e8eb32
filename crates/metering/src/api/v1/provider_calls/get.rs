use axum::Json;
use axum::extract::State;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;

use crate::codes::PROVIDER_CALL_NOT_FOUND;
use crate::provider_call::ProviderCallDetail;
use crate::store::calls;

/// Reads a call with how its cost comes about: counts by the rates that were frozen with it, and what was adjusted later.
#[utoipa::path(
    get,
    path = "/v1/provider-calls/{id}",
    operation_id = "get_provider_call",
    tag = "provider calls",
    params(("id" = Uuid, Path, description = "the call's id")),
    responses(
        Common,
        (status = 200, description = "the call", body = ProviderCallDetail),
        (status = 404, description = "no call has this id, or it is not in the database yet, or no longer", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_provider_call(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Json<ProviderCallDetail>, Problem> {
    let mut tx = db.single(&context).await?;
    let call = calls::find(&mut tx, id).await?;
    let unknown = || Problem::of(&PROVIDER_CALL_NOT_FOUND).detail(format!("provider call `{id}` does not exist"));
    call.map(Json).ok_or_else(unknown)
}
