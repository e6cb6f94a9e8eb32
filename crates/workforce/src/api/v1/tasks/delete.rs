use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::finish;
use crate::store::tasks;
use crate::{Error, TaskId};

/// How a task is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteTask {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes a task. The row stays and is shown to whoever asks for deleted ones. Tasks that wait for it go on waiting, until the
/// dependency is taken away; an agent that was on it is on it no more.
#[utoipa::path(
    delete,
    path = "/v1/tasks/{id}",
    operation_id = "delete_task",
    tag = "tasks",
    params(
        ("id" = uuid::Uuid, Path, description = "the task's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteTask,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no live task has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the task",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_task(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<TaskId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteTask>,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = tasks::delete(&mut tx, id, expected).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
