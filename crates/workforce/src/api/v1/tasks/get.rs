use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::{Common, versioned};
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
    params(("id" = uuid::Uuid, Path, description = "the task's id"), GetTask),
    responses(
        Common,
        (status = 200, description = "the task", body = Task, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no live task has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_task(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<TaskId>,
    ApiQuery(query): ApiQuery<GetTask>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let task = tasks::find(&mut tx, id, query.include_deleted).await?;
    Ok(versioned(StatusCode::OK, task.version, &task))
}
