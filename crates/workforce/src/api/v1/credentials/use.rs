use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, ApiPath, Claim, Early, Idempotency, ProblemBody, TenantScope, to_its_end};
use tenantry_postgres::{TenantContext, TenantDb};

use crate::credential::{ServiceAnswer, UseCredential};
use crate::keychain::KeychainError;
use crate::keychain::egress::Outgoing;
use crate::store::credentials::{self, Usable};
use crate::{Error, Keychain, Valid, Validate as _};

/// Sends a request to a credential's service, with the value put in by the server, and gives the service's answer, without it.
///
/// The request goes over HTTPS to the credential's host and no other, at public addresses; redirects are not followed but shown. With an
/// `Idempotency-Key` the same request is sent once and its answer kept for a day; a repetition that comes before the answer is 409. When the
/// server dies on the way, a repetition sends it again, once the key is free.
#[utoipa::path(
    post,
    path = "/v1/credentials/{name}/use",
    operation_id = "use_credential",
    tag = "credentials",
    params(("name" = String, Path, description = "the credential's name")),
    request_body = UseCredential,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the service's answer, whatever its status is", body = ServiceAnswer),
        (status = 404, description = "no credential has this name", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the same request is under way", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "the service cannot be reached, or its answer is not taken",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn use_credential(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    ApiPath(name): ApiPath<String>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<UseCredential>,
) -> Result<Response, Early> {
    credentials::check_name(&name)?;
    let request = body.validated()?;
    to_its_end(use_once(db, keychain, context, name, request, idempotency)).await
}

/// No connection is held while the service is asked, which may take its time.
async fn use_once(
    db: TenantDb,
    keychain: Keychain,
    context: TenantContext,
    name: String,
    request: Valid<UseCredential>,
    idempotency: Idempotency,
) -> Result<Response, Early> {
    let claim = Claim::take(&db, &context, idempotency, keychain.egress.timeout()).await?;
    let usable = match open(&db, &keychain, &context, &name, &request).await {
        Ok(usable) => usable,
        Err(error) => return claim.finish(Err(error)).await,
    };
    // A use is noted whatever became of it.
    match send(&keychain, &usable, &request).await {
        Ok(answer) => {
            let mut once = claim.done().await?;
            credentials::note_use(once.tx(), &name, &usable, &request, &answer.status.to_string());
            once.finish(Ok::<_, Error>(Answer::ok(&answer))).await
        }
        Err(error) => {
            let mut tx = db.begin(&context).await?;
            credentials::note_use(&mut tx, &name, &usable, &request, &error.to_string());
            tx.commit().await?;
            claim.finish(Err(error)).await
        }
    }
}

async fn open(
    db: &TenantDb,
    keychain: &Keychain,
    context: &TenantContext,
    name: &str,
    request: &UseCredential,
) -> Result<Usable, Error> {
    let mut tx = db.single(context).await?;
    credentials::open(&mut tx, &keychain.secrets, name, request.agent_id).await
}

async fn send(keychain: &Keychain, usable: &Usable, request: &UseCredential) -> Result<ServiceAnswer, Error> {
    let Usable { service, injection, value, .. } = usable;
    let outgoing = Outgoing { service, injection, value, request };
    keychain.egress.send(&outgoing).await.map_err(|error| KeychainError::from(error).into())
}
