use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::store::claim;
use crate::task::{ClaimTasks, ClaimedTasks};

/// Hands an agent its next tasks and starts them: the most urgent first, then what is due first, then the oldest. Each task is
/// handed out once, however many ask at the same time, and none before all that it depends on is completed. The agent's status
/// and its current task follow. No more are handed out than the plan has places for; where there is none, the answer is 429.
/// Send an `Idempotency-Key`, so that an answer that was lost on the way can be asked for again.
#[utoipa::path(
    post,
    path = "/v1/tasks/claim",
    operation_id = "claim_tasks",
    tag = "tasks",
    request_body = ClaimTasks,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the tasks, now in progress; an empty list when there is nothing to do", body = ClaimedTasks),
        (status = 409, description = "the agent is offline", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or names an agent that does not exist", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn claim_tasks(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<ClaimTasks>,
) -> Result<Response, Early> {
    let ask = body.validated()?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = claim::claim(write.tx(), &ask).await;
    write.finish(outcome.map(|data| Answer::ok(&ClaimedTasks { data }))).await
}
