use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::{ApiJson, ApiPath, Problem};
use tenantry_postgres::Provisioner;
use utoipa::ToSchema;

use crate::api::caller::{Caller, Repeatable};
use crate::api::respond::{Common, OfTenant, WithBody, created, version_tag};
use crate::api::slug::PathSlug;
use crate::model::NewKey;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "support desk", "scopes": ["agents:read", "tasks:read"], "expires_at": "2027-10-31T00:00:00Z", "requests_per_minute": 600 }))]
pub(super) struct CreateKey {
    /// What it is for, 1 to 100 characters.
    name: String,
    /// What it is limited to; nothing in particular unless given.
    #[serde(default)]
    #[schema(required = false)]
    scopes: Vec<String>,
    /// What it may send in a minute; as much as the tenant unless given.
    #[schema(minimum = 1)]
    requests_per_minute: Option<i32>,
    /// Not valid from then on; valid until it is revoked unless given.
    expires_at: Option<DateTime<Utc>>,
}

/// Makes an API key of a tenant. Its token is shown in this answer only. A key of a tenant that is not active is made, and
/// refused as long as the tenant is.
#[utoipa::path(
    post,
    path = "/admin/v1/tenants/{slug}/keys",
    operation_id = "create_key",
    tag = "keys",
    params(("slug" = String, Path, description = "the tenant's slug")),
    request_body = CreateKey,
    responses(
        Common,
        WithBody,
        OfTenant,
        (status = 201, description = "the new key with its token", body = NewKey, headers(
            ("Location" = String, description = "the key's address, to revoke it"),
            ("ETag" = String, description = "the version"),
        )),
    ),
)]
pub(super) async fn create_key(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
    ApiJson(body): ApiJson<CreateKey>,
) -> Result<Response, Problem> {
    let slug = slug.as_str();
    let CreateKey { name, scopes, requests_per_minute, expires_at } = body;
    let new = tenantry_postgres::NewKey { name, scopes, requests_per_minute, expires_at };
    let made = once.on(&provisioner).create_key(slug, &new, &actor).await?;
    let location = format!("/admin/v1/tenants/{slug}/keys/{}", made.info.id);
    let tag = version_tag(made.info.version());
    Ok(once.answer(([(header::ETAG, tag)], created(location, &NewKey::from(made))).into_response()))
}
