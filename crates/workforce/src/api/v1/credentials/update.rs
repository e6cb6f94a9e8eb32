use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::api::finish;
use crate::credential::{Credential, UpdateCredential};
use crate::store::credentials;
use crate::{Error, Keychain, Validate as _};

/// Changes a credential: a merge patch. A new `value` takes the place of the present one; another `service` needs one.
#[utoipa::path(
    patch,
    path = "/v1/credentials/{name}",
    operation_id = "update_credential",
    tag = "credentials",
    params(
        ("name" = String, Path, description = "the credential's name"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateCredential,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed credential", body = Credential, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 404, description = "no credential has this name", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the credential",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or `allowed_agents` names no live agent",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_credential(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateCredential>,
) -> Result<Response, Problem> {
    credentials::check_name(&name)?;
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    if let Some(service) = change.service.value() {
        keychain.egress.admits(service).map_err(|error| Error::Keychain(error.into()))?;
    }
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = credentials::update(&mut tx, &keychain.secrets, &name, expected, &change).await;
    let credential = finish(tx, outcome).await?;
    Ok(versioned(StatusCode::OK, credential.version, &credential))
}
