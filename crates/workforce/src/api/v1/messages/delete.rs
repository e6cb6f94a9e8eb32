use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::finish;
use crate::store::messages;
use crate::{Error, MessageId};

/// How a message is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteMessage {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes a message, for both sides. The row stays and is shown to whoever asks for deleted ones.
#[utoipa::path(
    delete,
    path = "/v1/messages/{id}",
    operation_id = "delete_message",
    tag = "messages",
    params(
        ("id" = uuid::Uuid, Path, description = "the message's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteMessage,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no live message has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the message", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_message(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<MessageId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteMessage>,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = messages::delete(&mut tx, id, expected).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
