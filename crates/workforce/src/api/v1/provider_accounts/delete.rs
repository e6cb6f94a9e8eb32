use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::finish;
use crate::store::accounts;
use crate::{Error, ProviderAccountId};

/// How an account is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteProviderAccount {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes a provider account that no task names, with its secrets. One that tasks name can be revoked.
#[utoipa::path(
    delete,
    path = "/v1/provider-accounts/{id}",
    operation_id = "delete_provider_account",
    tag = "provider accounts",
    params(
        ("id" = uuid::Uuid, Path, description = "the account's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteProviderAccount,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no account has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "tasks name the account, or the version is not the present one; `current` then holds the account",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_provider_account(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ProviderAccountId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteProviderAccount>,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = accounts::delete(&mut tx, id, expected).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
