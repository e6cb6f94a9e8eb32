use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::message::{Broadcast, CreateBroadcast};
use crate::store::messages;

/// Writes to all live agents but the writer. Each gets a message of its own, which it reads for itself.
#[utoipa::path(
    post,
    path = "/v1/messages/broadcasts",
    operation_id = "create_broadcast",
    tag = "messages",
    request_body = CreateBroadcast,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the broadcast", body = Broadcast, headers(
            ("Location" = String, description = "the list of its messages"),
        )),
        (status = 422, description = "a member is invalid, or names an agent that does not exist", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_broadcast(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateBroadcast>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = messages::broadcast(write.tx(), &new).await;
    let answer = |sent: Broadcast| Answer::made(format!("/v1/messages?broadcast_id={}", sent.broadcast_id), &sent);
    write.finish(outcome.map(answer)).await
}
