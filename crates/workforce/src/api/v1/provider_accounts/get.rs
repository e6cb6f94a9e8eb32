use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_http::respond::{Common, versioned};
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
    params(("id" = uuid::Uuid, Path, description = "the account's id")),
    responses(
        Common,
        (status = 200, description = "the account", body = ProviderAccount, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no account has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ProviderAccountId>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let account = accounts::find(&mut tx, id).await?;
    Ok(versioned(StatusCode::OK, account.version, &account))
}
