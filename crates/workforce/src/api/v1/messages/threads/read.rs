use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use super::Sides;
use crate::Validate as _;
use crate::message::{ReadThread, ThreadRead};
use crate::store::threads;

/// Marks what the first agent got from the other as read, up to a message of the thread.
#[utoipa::path(
    post,
    path = "/v1/messages/threads/{agent_id}/{other_agent_id}/read",
    operation_id = "read_thread",
    tag = "messages",
    params(Sides),
    request_body = ReadThread,
    responses(
        Common,
        WithBody,
        (status = 200, description = "how many messages were marked", body = ThreadRead),
        (status = 404, description = "one of the two agents never was", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`up_to` names no live message of the thread", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read_thread(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiPath(sides): ApiPath<Sides>,
    ApiJson(body): ApiJson<ReadThread>,
) -> Result<Response, Early> {
    let mark = body.validated()?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = threads::mark_read(write.tx(), sides.agent_id, sides.other_agent_id, &mark).await;
    write.finish(outcome.map(|read| Answer::ok(&read))).await
}
