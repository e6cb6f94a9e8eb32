use axum::extract::State;
use axum::response::Response;
use tenantry_http::{ApiJson, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::api::finish;
use crate::api::respond::{Common, WithBody, created};
use crate::store::tasks;
use crate::task::{CreateTask, Task};
use crate::{Error, Validate as _};

/// Makes a task.
#[utoipa::path(
    post,
    path = "/v1/tasks",
    operation_id = "create_task",
    tag = "tasks",
    request_body = CreateTask,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new task", body = Task, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the task's address"),
        )),
        (status = 422, description = "a member is invalid, or names an agent or account that does not exist", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_task(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiJson(body): ApiJson<CreateTask>,
) -> Result<Response, Problem> {
    let new = body.validated()?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = tasks::create(&mut tx, &new).await;
    let task = finish(tx, outcome).await?;
    Ok(created(task.version, format!("/v1/tasks/{}", task.id), &task))
}
