use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::account::{ProviderAccount, UpdateProviderAccount};
use crate::api::finish;
use crate::store::accounts;
use crate::{Error, ProviderAccountId, Validate as _};

/// Changes what is known about a provider account: a merge patch. Its secrets are changed by `rotate`.
#[utoipa::path(
    patch,
    path = "/v1/provider-accounts/{id}",
    operation_id = "update_provider_account",
    tag = "provider accounts",
    params(
        ("id" = uuid::Uuid, Path, description = "the account's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateProviderAccount,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed account", body = ProviderAccount, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 404, description = "no account has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the account",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ProviderAccountId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateProviderAccount>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = accounts::update(&mut tx, id, expected, &change).await;
    let account = finish(tx, outcome).await?;
    Ok(versioned(StatusCode::OK, account.version, &account))
}
