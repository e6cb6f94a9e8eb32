use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use tenantry_http::respond::Common;
use tenantry_http::{Answer, ApiPath, Claim, Early, Idempotency, ProblemBody, TenantScope, to_its_end};
use tenantry_postgres::{TenantContext, TenantDb};
use uuid::Uuid;
use workforce::keychain::KeychainError;
use workforce::{Error, Keychain};

use crate::Metering;
use crate::budgets::{BudgetError, Post, WebhookTest, post};
use crate::store::budgets;

/// Posts a test to a budget's address, signed as warnings are, and shows what the receiver made of it. With an `Idempotency-Key` the same
/// request is posted once and its answer kept for a day; a repetition that comes before the answer is 409. When the server dies on the way, a
/// repetition posts it again, once the key is free, half a minute after the receiver's time is over. Without a key it is posted whenever it is asked for.
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
        (status = 409, description = "the budget has no webhook, or the same request is under way", body = ProblemBody, content_type = "application/problem+json"),
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
    to_its_end(test(db, keychain, metering, context, id, idempotency)).await
}

/// No connection is held while the receiver is asked, which may take its time.
async fn test(
    db: TenantDb,
    keychain: Keychain,
    metering: Metering,
    context: TenantContext,
    id: Uuid,
    idempotency: Idempotency,
) -> Result<Response, Early> {
    let claim = Claim::take(&db, &context, idempotency, keychain.egress.timeout()).await?;
    let outcome = match webhook(&db, &context, id).await {
        Ok(webhook) => send(&keychain, &metering, &context, id, webhook).await,
        Err(error) => Err(error),
    };
    claim.finish(outcome.map(|test| Answer::ok(&test))).await
}

async fn webhook(db: &TenantDb, context: &TenantContext, id: Uuid) -> Result<(String, Vec<u8>), BudgetError> {
    budgets::webhook(&mut db.single(context).await?, id).await
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
