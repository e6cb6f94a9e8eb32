use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::credential::{CreateCredential, Credential};
use crate::store::credentials;
use crate::{Error, Keychain, Validate as _};

/// Makes a credential. Its value is kept sealed, is sent to its service only, and is never given back.
#[utoipa::path(
    post,
    path = "/v1/credentials",
    operation_id = "create_credential",
    tag = "credentials",
    request_body = CreateCredential,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new credential", body = Credential, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the credential's address"),
        )),
        (status = 409, description = "the name is taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or `allowed_agents` names no live agent",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_credential(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateCredential>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    keychain.egress.admits(&new.service).map_err(|error| Error::Keychain(error.into()))?;
    let sealed = credentials::seal(&keychain.secrets, &context, &new.value).await?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = credentials::create(write.tx(), &new, &sealed).await;
    let answer = |credential: Credential| {
        Answer::created(credential.version, format!("/v1/credentials/{}", credential.name), &credential)
    };
    write.finish(outcome.map(answer)).await
}
