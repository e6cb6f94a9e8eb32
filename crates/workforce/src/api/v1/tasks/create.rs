use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::store::tasks;
use crate::task::{CreateTask, Task};

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
        (status = 422, description = "a member is invalid, or names an agent, an account or a task that does not exist", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_task(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateTask>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::optimistic(&db, &context, idempotency).await?;
    let outcome = tasks::create(write.tx(), &new).await;
    write.finish(outcome.map(|task| Answer::created(task.version, format!("/v1/tasks/{}", task.id), &task))).await
}
