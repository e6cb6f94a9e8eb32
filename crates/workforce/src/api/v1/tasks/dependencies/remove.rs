use axum::extract::State;
use axum::http::StatusCode;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::api::finish;
use crate::store::dependencies;
use crate::{Error, TaskId};

/// Ends the waiting of a task for another. Dependencies have no versions: there is nothing about one that could change.
#[utoipa::path(
    delete,
    path = "/v1/tasks/{id}/dependencies/{depends_on_task_id}",
    operation_id = "remove_dependency",
    tag = "tasks",
    params(
        ("id" = uuid::Uuid, Path, description = "the id of the task that waits"),
        ("depends_on_task_id" = uuid::Uuid, Path, description = "the id of the task that it waits for"),
    ),
    responses(
        Common,
        (status = 204, description = "taken away"),
        (status = 404, description = "no live task has this id, or it does not wait for the other", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove_dependency(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath((id, other)): ApiPath<(TaskId, TaskId)>,
) -> Result<StatusCode, Problem> {
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = dependencies::remove(&mut tx, id, other).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
