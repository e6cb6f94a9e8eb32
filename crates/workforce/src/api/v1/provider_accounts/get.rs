use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::account::ProviderAccount;
use crate::store::accounts;
use crate::{Error, ProviderAccountId};

/// Reads a provider account, without its secrets.
#[utoipa::path(
    get,
    path = "/v1/provider-accounts/{id}",
    operation_id = "get_provider_account",
    tag = "provider accounts",
    params(
        ("id" = uuid::Uuid, Path, description = "the account's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
    ),
    responses(
        Common,
        (status = 200, description = "the account", body = ProviderAccount, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no account has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ProviderAccountId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let account = accounts::find(&mut tx, id).await?;
    Ok(unless_known(&headers, account.version, &account))
}
