use axum::Json;
use axum::extract::State;
use tenantry_core::ApiKeyId;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::Registry;

use super::model::ApiKey;

/// Shows an API key, without its secret.
#[utoipa::path(
    get,
    path = "/v1/keys/{id}",
    operation_id = "get_api_key",
    tag = "keys",
    params(("id" = uuid::Uuid, Path, description = "the key's id")),
    responses(
        Common,
        (status = 200, description = "the key", body = ApiKey),
        (status = 404, description = "no key has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_api_key(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiPath(id): ApiPath<ApiKeyId>,
) -> Result<Json<ApiKey>, Problem> {
    Ok(Json(registry.api_key(&context, id).await?.into()))
}
