use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::api::finish;
use crate::store::tasks;
use crate::task::{Task, UpdateTask};
use crate::{Error, TaskId, Validate as _};

/// Changes a task: a merge patch. The change names the version it is based on, in `version` or in `If-Match`.
#[utoipa::path(
    patch,
    path = "/v1/tasks/{id}",
    operation_id = "update_task",
    tag = "tasks",
    params(
        ("id" = uuid::Uuid, Path, description = "the task's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateTask,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed task", body = Task, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 404, description = "no live task has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one (`current` holds the task), the status cannot follow (`allowed` \
            holds those that can), or the task waits for others (`dependencies` holds them)",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or names an agent or account that does not exist",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_task(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<TaskId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateTask>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = tasks::update(&mut tx, id, expected, &change).await;
    let task = finish(tx, outcome).await?;
    Ok(versioned(StatusCode::OK, task.version, &task))
}
