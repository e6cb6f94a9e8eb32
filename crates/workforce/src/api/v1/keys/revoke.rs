use axum::Json;
use axum::extract::State;
use tenantry_core::ApiKeyId;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::Registry;

use super::model::ApiKey;

/// Revokes an API key: every server refuses it within a second. Revoking again changes nothing. A key may revoke itself.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    operation_id = "revoke_api_key",
    tag = "keys",
    params(("id" = uuid::Uuid, Path, description = "the key's id")),
    responses(
        Common,
        (status = 200, description = "the revoked key", body = ApiKey),
        (status = 404, description = "no key has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke_api_key(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    ApiPath(id): ApiPath<ApiKeyId>,
) -> Result<Json<ApiKey>, Problem> {
    Ok(Json(registry.revoke_key(&context, id).await?.into()))
}
