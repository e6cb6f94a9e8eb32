use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tenantry_http::codes::PERMISSION_DENIED;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Idempotency, Problem, ProblemBody, TenantScope, replayed};
use tenantry_postgres::{NewKey, Registry};
use utoipa::ToSchema;

use super::model::NewApiKey;
use crate::permissions::{is_scope, may_give};
use crate::{Checks, Validate};

/// A key to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ci", "scopes": ["tasks:read", "tasks:write"], "expires_at": "2027-11-24T09:00:00Z" }))]
pub struct CreateApiKey {
    /// What it is for, 1 to 100 characters.
    pub name: String,
    /// The permissions it is limited to, as `GET /v1/me` names them; `*` or none is all. A key cannot be given more than its maker
    /// has.
    #[serde(default)]
    #[schema(required = false)]
    pub scopes: Vec<String>,
    /// What it may send in a minute; as much as the company unless given. A key that makes another one must not send less than it.
    #[schema(minimum = 1, example = 600)]
    pub requests_per_minute: Option<i32>,
    /// Not valid from then on; valid until it is revoked unless given. A key that makes another one must not be outlived by it.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Validate for CreateApiKey {
    fn check(&self, checks: &mut Checks) {
        checks.line("/name", &self.name, 100);
        for (at, scope) in self.scopes.iter().enumerate() {
            if !is_scope(scope) {
                let shown: String = scope.chars().take(64).collect();
                checks.fail(format!("/scopes/{at}"), format!("`{shown}` is no permission; `GET /v1/me` lists them"));
            }
        }
        if self.requests_per_minute.is_some_and(|limit| limit < 1) {
            checks.fail("/requests_per_minute", "must be at least 1");
        }
        // Whether it has passed is asked with the change, for the request may have been answered before.
        if let Some(at) = self.expires_at {
            checks.instant("/expires_at", at);
        }
    }
}

/// Makes an API key. Its token is shown in this answer only, and in those to the same request with the same `Idempotency-Key`.
#[utoipa::path(
    post,
    path = "/v1/keys",
    operation_id = "create_api_key",
    tag = "keys",
    request_body = CreateApiKey,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new key with its token", body = NewApiKey, headers(
            ("Location" = String, description = "the key's address"),
        )),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_api_key(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateApiKey>,
) -> Result<Response, Problem> {
    let body = body.validated()?;
    let mut scopes = body.scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    if !may_give(context.principal(), &scopes) {
        let detail = "a key cannot be given more than its maker has; name scopes among your own permissions";
        return Err(Problem::of(&PERMISSION_DENIED).pointer("/scopes", detail).detail(detail));
    }
    let (requests_per_minute, expires_at) = (body.requests_per_minute, body.expires_at);
    let new = NewKey { name: body.name.clone(), scopes, requests_per_minute, expires_at };
    let once = idempotency.of_tenant(&context);
    let made = registry.create_key(&context, &new, once.as_ref()).await?;
    let location = format!("/v1/keys/{}", made.info.id);
    let shown = NewApiKey { key: made.info.into(), token: made.token.expose_secret().to_owned() };
    Ok(replayed(once.as_ref(), Answer::made(location, &shown).into_response()))
}
