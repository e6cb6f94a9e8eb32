use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::api::finish;
use crate::message::{Message, UpdateMessage};
use crate::store::messages;
use crate::{Error, MessageId, Validate as _};

/// Changes a draft that waits for its approval: a merge patch. The change names the version it is based on, in `version` or
/// in `If-Match`. Whatever else was written stays as it was written.
#[utoipa::path(
    patch,
    path = "/v1/messages/{id}",
    operation_id = "update_message",
    tag = "messages",
    params(
        ("id" = uuid::Uuid, Path, description = "the message's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateMessage,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed draft", body = Message, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 404, description = "no live message has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one (`current` holds the draft), or it is no draft that waits for its approval",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_message(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<MessageId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateMessage>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = messages::update(&mut tx, id, expected, &change).await;
    let message = finish(tx, outcome).await?;
    Ok(versioned(StatusCode::OK, message.version, &message))
}
