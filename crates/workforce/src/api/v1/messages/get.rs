use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::message::Message;
use crate::store::messages;
use crate::{Error, MessageId};

/// How a message is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetMessage {
    /// Also if it is deleted.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
}

/// Fetches a message. That does not mark it read: whoever has read it says so.
#[utoipa::path(
    get,
    path = "/v1/messages/{id}",
    operation_id = "get_message",
    tag = "messages",
    params(
        ("id" = uuid::Uuid, Path, description = "the message's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
        GetMessage,
    ),
    responses(
        Common,
        (status = 200, description = "the message", body = Message, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no live message has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_message(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<MessageId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetMessage>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let message = messages::find(&mut tx, id, query.include_deleted).await?;
    Ok(unless_known(&headers, message.version, &message))
}
