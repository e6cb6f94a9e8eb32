use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::account::{Authorization, StartAuthorization};
use crate::keychain::oauth::start;
use crate::{Keychain, Validate as _};

/// Begins an authorization at a provider (OAuth 2.0 authorization code with PKCE). Send the person to `authorization_url`; the provider
/// sends the browser back to this server, which then makes the account.
#[utoipa::path(
    post,
    path = "/v1/provider-accounts/oauth/start",
    operation_id = "start_authorization",
    tag = "provider accounts",
    request_body = StartAuthorization,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the authorization that has begun", body = Authorization),
        (status = 409, description = "the account to connect again is revoked, or the key of the request is in use",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, the provider is not configured, or `provider_account_id` names no account",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in super::super) async fn start_authorization(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<StartAuthorization>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = start(write.tx(), &keychain, &new).await;
    write.finish(outcome.map(|begun: Authorization| Answer::status(StatusCode::CREATED, &begun))).await
}
