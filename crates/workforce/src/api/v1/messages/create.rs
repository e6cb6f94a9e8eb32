use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::message::{CreateMessage, Message};
use crate::store::messages;

/// Writes a message to another agent, or a draft to somebody outside, which goes nowhere before it is approved.
#[utoipa::path(
    post,
    path = "/v1/messages",
    operation_id = "create_message",
    tag = "messages",
    request_body = CreateMessage,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new message", body = Message, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the message's address"),
        )),
        (status = 422, description = "a member is invalid, or names an agent that does not exist", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_message(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateMessage>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::optimistic(&db, &context, idempotency).await?;
    let outcome = messages::create(write.tx(), &new).await;
    let answer = |message: Message| Answer::created(message.version, format!("/v1/messages/{}", message.id), &message);
    write.finish(outcome.map(answer)).await
}
