use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, expected_version};
use tenantry_http::{Answer, ApiJson, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::account::{ProviderAccount, RotateProviderAccount};
use crate::store::accounts;
use crate::{Keychain, ProviderAccountId, Validate as _};

/// Gives a provider account other secrets, in the place of all that it had. One with an error is active again.
#[utoipa::path(
    post,
    path = "/v1/provider-accounts/{id}/rotate",
    operation_id = "rotate_provider_account",
    tag = "provider accounts",
    params(
        ("id" = uuid::Uuid, Path, description = "the account's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to change"),
    ),
    request_body = RotateProviderAccount,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the account", body = ProviderAccount, headers(("ETag" = String, description = "the new version"))),
        (status = 404, description = "no account has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the account is revoked, or the version is not the present one; `current` then holds the account",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rotate_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    ApiPath(id): ApiPath<ProviderAccountId>,
    headers: HeaderMap,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<RotateProviderAccount>,
) -> Result<Response, Early> {
    let expected = expected_version(&headers, body.version)?;
    let change = body.validated()?;
    let mut read = db.single(&context).await?;
    let provider = accounts::find(&mut read, id).await?.provider;
    drop(read);
    let refresh_at = keychain.oauth.refresh_at(&provider, change.access_token_expires_at);
    let secrets = (&change.access_token, change.refresh_token.as_ref());
    let sealed = accounts::seal(&keychain.secrets, &context, Some(id), secrets, refresh_at).await?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = accounts::rotate(write.tx(), id, expected, &change, &sealed).await;
    write.finish(outcome.map(|account: ProviderAccount| Answer::versioned(account.version, &account))).await
}
