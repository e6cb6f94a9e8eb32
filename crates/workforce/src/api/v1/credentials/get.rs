use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_http::respond::{Common, versioned};
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
    params(("name" = String, Path, description = "the credential's name")),
    responses(
        Common,
        (status = 200, description = "the credential", body = Credential, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no credential has this name", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_credential(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(name): ApiPath<String>,
) -> Result<Response, Problem> {
    credentials::check_name(&name)?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let credential = credentials::find(&mut tx, &name).await?;
    Ok(versioned(StatusCode::OK, credential.version, &credential))
}
