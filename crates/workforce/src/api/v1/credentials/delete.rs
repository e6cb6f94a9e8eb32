use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::Error;
use crate::api::finish;
use crate::store::credentials;

/// How a credential is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteCredential {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes a credential with its value. Its name is free again.
#[utoipa::path(
    delete,
    path = "/v1/credentials/{name}",
    operation_id = "delete_credential",
    tag = "credentials",
    params(
        ("name" = String, Path, description = "the credential's name"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteCredential,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no credential has this name", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the credential",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_credential(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteCredential>,
) -> Result<StatusCode, Problem> {
    credentials::check_name(&name)?;
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = credentials::delete(&mut tx, &name, expected).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
