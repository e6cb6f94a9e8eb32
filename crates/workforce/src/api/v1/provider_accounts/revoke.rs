use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{Answer, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::ProviderAccountId;
use crate::account::ProviderAccount;
use crate::store::accounts;

/// Ends a provider account for good and removes its secrets, also while the plan's storage is used up. Its row stays, for the tasks that name it.
#[utoipa::path(
    post,
    path = "/v1/provider-accounts/{id}/revoke",
    operation_id = "revoke_provider_account",
    tag = "provider accounts",
    params(
        ("id" = uuid::Uuid, Path, description = "the account's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to revoke"),
    ),
    responses(
        Common,
        (status = 200, description = "the revoked account", body = ProviderAccount, headers(("ETag" = String, description = "the new version"))),
        (status = 404, description = "no account has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the account",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "a body is larger than the server accepts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the idempotency key came with another request", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ProviderAccountId>,
    headers: HeaderMap,
    idempotency: Idempotency,
) -> Result<Response, Early> {
    let expected = expected_version(&headers, None)?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = accounts::revoke(write.tx(), id, expected).await;
    write.finish(outcome.map(|account: ProviderAccount| Answer::versioned(account.version, &account))).await
}
