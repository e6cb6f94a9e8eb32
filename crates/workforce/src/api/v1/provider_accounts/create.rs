use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::account::{CreateProviderAccount, ProviderAccount};
use crate::store::accounts;
use crate::{Keychain, Validate as _};

/// Makes a provider account of an access token or API key. Secrets are kept sealed and never given back.
#[utoipa::path(
    post,
    path = "/v1/provider-accounts",
    operation_id = "create_provider_account",
    tag = "provider accounts",
    request_body = CreateProviderAccount,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new account", body = ProviderAccount, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the account's address"),
        )),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateProviderAccount>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let refresh_at = keychain.oauth.refresh_at(&new.provider, new.access_token_expires_at);
    let secrets = (&new.access_token, new.refresh_token.as_ref());
    let sealed = accounts::seal(&keychain.secrets, &context, None, secrets, refresh_at).await?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = accounts::create(write.tx(), &new, &sealed).await;
    let answer = |account: ProviderAccount| {
        Answer::created(account.version, format!("/v1/provider-accounts/{}", account.id), &account)
    };
    write.finish(outcome.map(answer)).await
}
