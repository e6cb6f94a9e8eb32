use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};
use tenantry_core::ApiKeyId;
use tenantry_http::{ApiJson, ApiPath, Problem};
use tenantry_postgres::Provisioner;
use utoipa::ToSchema;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant, WithBody};
use crate::api::slug::PathSlug;
use crate::model::Key;

/// A change of an API key: a merge patch (RFC 7396). What is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"requests_per_minute": 60}))]
pub(super) struct UpdateKey {
    /// What it may send in a minute; `null` is as much as the tenant.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    requests_per_minute: Option<Option<i32>>,
}

/// Tells `null`, which clears, from absence, which keeps.
fn set_or_clear<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<i32>>, D::Error> {
    Option::<i32>::deserialize(from).map(Some)
}

/// Limits an API key; every server keeps to it within a second. The change sets one value, whatever it was before, and so names
/// no version.
#[utoipa::path(
    patch,
    path = "/admin/v1/tenants/{slug}/keys/{id}",
    operation_id = "update_key",
    tag = "keys",
    params(
        ("slug" = String, Path, description = "the tenant's slug"),
        ("id" = uuid::Uuid, Path, description = "the key's id"),
    ),
    request_body = UpdateKey,
    responses(Common, WithBody, OfTenant, (status = 200, description = "the changed key", body = Key)),
)]
pub(super) async fn update_key(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath((slug, id)): ApiPath<(PathSlug, ApiKeyId)>,
    ApiJson(body): ApiJson<UpdateKey>,
) -> Result<Json<Key>, Problem> {
    Ok(Json(provisioner.limit_key(slug.as_str(), id, body.requests_per_minute, &actor).await?.into()))
}
