use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::store::tasks;
use crate::task::Task;
use crate::{Error, TaskId};

/// How a task is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetTask {
    /// Also if it is deleted.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
}

/// Reads a task.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}",
    operation_id = "get_task",
    tag = "tasks",
    params(
        ("id" = uuid::Uuid, Path, description = "the task's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
        GetTask,
    ),
    responses(
        Common,
        (status = 200, description = "the task", body = Task, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no live task has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_task(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<TaskId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetTask>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let task = tasks::find(&mut tx, id, query.include_deleted).await?;
    Ok(unless_known(&headers, task.version, &task))
}
