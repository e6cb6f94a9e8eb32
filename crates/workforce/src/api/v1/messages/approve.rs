use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version};
use tenantry_http::{Answer, ApiJson, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::message::{DecideMessage, Message};
use crate::store::messages;
use crate::{MessageId, MessageStatus};

/// Approves a draft to somebody outside, once and for good. The approval names the version that was read, in `version` or in
/// `If-Match`: a draft that was changed meanwhile is not approved. Needs the permission `messages:approve`.
#[utoipa::path(
    post,
    path = "/v1/messages/{id}/approve",
    operation_id = "approve_message",
    tag = "messages",
    params(
        ("id" = uuid::Uuid, Path, description = "the draft's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that was read"),
    ),
    request_body = DecideMessage,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the approved draft", body = Message, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no live message has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it was decided on before or was changed since it was read (`current` holds the draft), or is no draft",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the body is not what is expected", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the approval names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn approve_message(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiPath(id): ApiPath<MessageId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<DecideMessage>,
) -> Result<Response, Early> {
    let expected = required_version(&headers, body.version)?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = messages::step(write.tx(), id, Some(expected), MessageStatus::Approved).await;
    write.finish(outcome.map(|message| Answer::versioned(message.version, &message))).await
}
