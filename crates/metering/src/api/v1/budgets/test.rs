use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tenantry_http::respond::Common;
use tenantry_http::{Answer, ApiPath, Early, Idempotency, Once, Problem, ProblemBody, TenantScope};
use tenantry_postgres::{TenantContext, TenantDb};
use tracing::Instrument as _;
use uuid::Uuid;
use workforce::keychain::KeychainError;
use workforce::{Error, Keychain};

use crate::Metering;
use crate::budgets::{BudgetError, Post, WebhookTest, post};
use crate::store::budgets;

/// Posts a test to a budget's address, signed as warnings are, and shows what the receiver made of it. With an `Idempotency-Key` the same
/// request is posted once and its answer kept for a day; when the server dies on the way, a repetition posts it again. Without one it is
/// posted whenever it is asked for.
#[utoipa::path(
    post,
    path = "/v1/budgets/{id}/test",
    operation_id = "test_budget",
    tag = "budgets",
    params(("id" = Uuid, Path, description = "the budget's id")),
    responses(
        Common,
        (status = 200, description = "the receiver has answered, whatever its status is", body = WebhookTest),
        (status = 402, description = "the plan's storage is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "no budget has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the budget has no webhook", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "the receiver cannot be reached", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn test_budget(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    State(metering): State<Metering>,
    ApiPath(id): ApiPath<Uuid>,
    idempotency: Idempotency,
) -> Result<Response, Early> {
    if idempotency.is_given() {
        // In a task of its own: a caller that leaves does not undo what the receiver has got already.
        let posting = post_once(db, keychain, metering, context, id, idempotency).in_current_span();
        let posted = tokio::spawn(posting).await;
        return posted.unwrap_or_else(|_| Err(Problem::of(&tenantry_http::codes::INTERNAL_ERROR).into()));
    }
    // The connection is given back before the receiver is asked, which may take its time.
    let webhook = {
        let mut tx = db.single(&context).await?;
        budgets::webhook(&mut tx, id).await?
    };
    Ok(Json(send(&keychain, &metering, &context, id, webhook).await?).into_response())
}

/// The transaction is open until the receiver has answered, which is what makes a repetition wait for it.
async fn post_once(
    db: TenantDb,
    keychain: Keychain,
    metering: Metering,
    context: TenantContext,
    id: Uuid,
    idempotency: Idempotency,
) -> Result<Response, Early> {
    let mut once = Once::begin(&db, &context, idempotency).await?;
    let outcome = match budgets::webhook(once.tx(), id).await {
        Ok(webhook) => send(&keychain, &metering, &context, id, webhook).await,
        Err(error) => Err(error),
    };
    once.finish(outcome.map(|test| Answer::ok(&test))).await
}

async fn send(
    keychain: &Keychain,
    metering: &Metering,
    context: &TenantContext,
    id: Uuid,
    (url, sealed): (String, Vec<u8>),
) -> Result<WebhookTest, BudgetError> {
    let secret = keychain.secrets.open(context, budgets::secret_of(id), &sealed).await.map_err(Error::from)?;
    let at = metering.clock.now();
    let body = json!({ "type": "budget.test", "timestamp": at, "data": { "budget": { "id": id } } });
    let post_of = Post { id: Uuid::now_v7(), url: &url, secret: &secret, body: &body, at };
    let status = post(&keychain.egress, &post_of).await.map_err(|error| Error::from(KeychainError::from(error)))?;
    Ok(WebhookTest { status, delivered: (200..300).contains(&status) })
}
