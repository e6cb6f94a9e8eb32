use axum::Json;
use axum::extract::State;
use serde_json::json;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;
use workforce::keychain::KeychainError;
use workforce::{Error, Keychain};

use crate::Metering;
use crate::budgets::{BudgetError, Post, WebhookTest, post};
use crate::store::budgets;

/// Posts a test to a budget's address, signed as warnings are, and shows what the receiver made of it. Nothing is written down, so it is
/// repeated whenever it is asked for.
#[utoipa::path(
    post,
    path = "/v1/budgets/{id}/test",
    operation_id = "test_budget",
    tag = "budgets",
    params(("id" = Uuid, Path, description = "the budget's id")),
    responses(
        Common,
        (status = 200, description = "the receiver has answered, whatever its status is", body = WebhookTest),
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
) -> Result<Json<WebhookTest>, Problem> {
    // The connection is given back before the receiver is asked, which may take its time.
    let (url, sealed) = {
        let mut tx = db.single(&context).await.map_err(BudgetError::from)?;
        budgets::webhook(&mut tx, id).await?
    };
    let secret = keychain.secrets.open(&context, budgets::secret_of(id), &sealed).await.map_err(Error::from)?;
    let at = metering.clock.now();
    let body = json!({ "type": "budget.test", "timestamp": at, "data": { "budget": { "id": id } } });
    let post_of = Post { id: Uuid::now_v7(), url: &url, secret: &secret, body: &body, at };
    let status = post(&keychain.egress, &post_of).await.map_err(|error| Error::from(KeychainError::from(error)))?;
    Ok(Json(WebhookTest { status, delivered: (200..300).contains(&status) }))
}
