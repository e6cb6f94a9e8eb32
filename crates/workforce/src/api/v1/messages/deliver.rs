use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::Common;
use tenantry_http::{Answer, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::message::Message;
use crate::store::messages;
use crate::{MessageId, MessageStatus};

/// Marks a message delivered: its recipient has fetched it. Repeated, it changes nothing.
#[utoipa::path(
    post,
    path = "/v1/messages/{id}/deliver",
    operation_id = "deliver_message",
    tag = "messages",
    params(("id" = uuid::Uuid, Path, description = "the message's id")),
    responses(
        Common,
        (status = 402, description = "the plan's storage is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 200, description = "the message", body = Message, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no live message has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it was read already, or is a draft; `allowed` holds what may follow", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the idempotency key came with another request before", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn deliver_message(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiPath(id): ApiPath<MessageId>,
) -> Result<Response, Early> {
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = messages::step(write.tx(), id, None, MessageStatus::Delivered).await;
    write.finish(outcome.map(|message| Answer::versioned(message.version, &message))).await
}
