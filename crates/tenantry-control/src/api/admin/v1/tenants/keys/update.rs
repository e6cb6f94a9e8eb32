use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Deserializer};
use tenantry_core::ApiKeyId;
use tenantry_http::respond::expected_version;
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, codes};
use tenantry_postgres::{ProvisionError, Provisioner};
use utoipa::ToSchema;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant, WithBody, version_tag};
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
    /// Change only this version; may come as `If-Match` instead. Without one, any version is changed.
    version: Option<i64>,
}

/// Tells `null`, which clears, from absence, which keeps.
fn set_or_clear<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<i32>>, D::Error> {
    Option::<i32>::deserialize(from).map(Some)
}

/// Limits an API key; every server keeps to it within a second. `version` or `If-Match` is optional, as for
/// tenants: the change sets one value, and only who derives it from the one before must know that it is still that.
#[utoipa::path(
    patch,
    path = "/admin/v1/tenants/{slug}/keys/{id}",
    operation_id = "update_key",
    tag = "keys",
    params(
        ("slug" = String, Path, description = "the tenant's slug"),
        ("id" = uuid::Uuid, Path, description = "the key's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to change"),
    ),
    request_body = UpdateKey,
    responses(
        Common,
        WithBody,
        OfTenant,
        (status = 200, description = "the changed key", body = Key, headers(("ETag" = String, description = "the new version"))),
        (status = 409, description = "the version is not the present one; `current` holds the key",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_key(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath((slug, id)): ApiPath<(PathSlug, ApiKeyId)>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateKey>,
) -> Result<Response, Problem> {
    let version = expected_version(&headers, body.version)?;
    let changed = provisioner.limit_key(slug.as_str(), id, body.requests_per_minute, version, &actor).await;
    let key = changed.map_err(|error| match error {
        ProvisionError::KeyChanged(ref current) => Problem::of(&codes::VERSION_CONFLICT)
            .detail(error.to_string())
            .with("current", Key::from((**current).clone())),
        other => other.into(),
    })?;
    Ok(([(header::ETAG, version_tag(key.version()))], Json(Key::from(key))).into_response())
}
