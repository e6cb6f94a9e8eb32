use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Error;
use crate::credential::Credential;
use crate::store::credentials;

/// Reads a credential, without its value.
#[utoipa::path(
    get,
    path = "/v1/credentials/{name}",
    operation_id = "get_credential",
    tag = "credentials",
    params(
        ("name" = String, Path, description = "the credential's name"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
    ),
    responses(
        Common,
        (status = 200, description = "the credential", body = Credential, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no credential has this name", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_credential(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    credentials::check_name(&name)?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let credential = credentials::find(&mut tx, &name).await?;
    Ok(unless_known(&headers, credential.version, &credential))
}
