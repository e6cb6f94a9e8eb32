use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::{TenantContext, TenantDb};

use crate::credential::{ServiceAnswer, UseCredential};
use crate::keychain::KeychainError;
use crate::keychain::egress::Outgoing;
use crate::store::credentials::{self, Usable};
use crate::{Error, Keychain, Validate as _};

/// Sends a request to a credential's service, with the value put in by the server, and gives the service's answer, without it.
///
/// The request goes over HTTPS to the credential's host and no other, at public addresses; redirects are not followed but shown. With an
/// `Idempotency-Key` the same request is sent once and its answer kept for a day; when the server dies on the way, a repetition
/// sends it again.
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
    // With a key the transaction is open until the service has answered, which is what makes a repetition wait for it.
    if idempotency.is_given() {
        let mut once = Once::begin(&db, &context, idempotency).await?;
        let usable = match credentials::open(once.tx(), &keychain.secrets, &name, request.agent_id).await {
            Ok(usable) => usable,
            Err(error) => return once.finish(Err(error)).await,
        };
        return match send(&keychain, &usable, &request).await {
            Ok(answer) => {
                credentials::note_use(once.tx(), &name, &usable, &request, &answer.status.to_string());
                once.finish(Ok::<_, Error>(Answer::ok(&answer))).await
            }
            Err(error) => {
                let told = error.to_string();
                let refused = once.finish(Err(error)).await;
                // After the rollback: it was sent, or tried, all the same.
                note(&db, &context, &name, &usable, &request, &told).await?;
                refused
            }
        };
    }
    let mut tx = db.single(&context).await?;
    let usable = credentials::open(&mut tx, &keychain.secrets, &name, request.agent_id).await;
    drop(tx);
    let usable = usable?;
    let outcome = send(&keychain, &usable, &request).await;
    let told = outcome.as_ref().map_or_else(ToString::to_string, |answer| answer.status.to_string());
    note(&db, &context, &name, &usable, &request, &told).await?;
    Ok(Json(outcome?).into_response())
}

async fn send(keychain: &Keychain, usable: &Usable, request: &UseCredential) -> Result<ServiceAnswer, Error> {
    let Usable { service, injection, value, .. } = usable;
    let outgoing = Outgoing { service, injection, value, request };
    keychain.egress.send(&outgoing).await.map_err(|error| KeychainError::from(error).into())
}

/// A use is noted whatever became of it.
async fn note(
    db: &TenantDb,
    context: &TenantContext,
    name: &str,
    usable: &Usable,
    request: &UseCredential,
    told: &str,
) -> Result<(), Error> {
    let mut tx = db.begin(context).await?;
    credentials::note_use(&mut tx, name, usable, request, told);
    Ok(tx.commit().await?)
}
