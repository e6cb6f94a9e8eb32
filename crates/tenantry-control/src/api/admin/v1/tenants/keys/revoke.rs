use axum::Json;
use axum::extract::State;
use tenantry_core::ApiKeyId;
use tenantry_http::{ApiPath, Problem};
use tenantry_postgres::Provisioner;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant};
use crate::api::slug::PathSlug;
use crate::model::Key;

/// Revokes an API key: every server refuses it within a second. Revoking again changes nothing.
#[utoipa::path(
    delete,
    path = "/admin/v1/tenants/{slug}/keys/{id}",
    operation_id = "revoke_key",
    tag = "keys",
    params(
        ("slug" = String, Path, description = "the tenant's slug"),
        ("id" = uuid::Uuid, Path, description = "the key's id"),
    ),
    responses(Common, OfTenant, (status = 200, description = "the revoked key", body = Key)),
)]
pub(super) async fn revoke_key(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath((slug, id)): ApiPath<(PathSlug, ApiKeyId)>,
) -> Result<Json<Key>, Problem> {
    Ok(Json(provisioner.revoke_key(slug.as_str(), id, &actor).await?.into()))
}
