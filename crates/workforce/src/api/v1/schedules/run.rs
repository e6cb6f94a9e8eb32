use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::Common;
use tenantry_http::{Answer, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::store::schedules;
use crate::task::Task;
use crate::{Error, ScheduleId, Scheduling};

/// Runs a schedule now, also one that is not enabled. When it is due next stays as it is.
#[utoipa::path(
    post,
    path = "/v1/schedules/{id}/run",
    operation_id = "run_schedule",
    tag = "schedules",
    params(("id" = uuid::Uuid, Path, description = "the schedule's id")),
    responses(
        Common,
        (status = 201, description = "the new task", body = Task, headers(
            ("ETag" = String, description = "the task's version"),
            ("Location" = String, description = "the task's address"),
        )),
        (status = 404, description = "no live schedule has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "the body is larger than the server accepts; none is needed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the schedule's agent or account does not exist any more, or the idempotency key came with another request",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn run_schedule(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(scheduling): State<Scheduling>,
    idempotency: Idempotency,
    ApiPath(id): ApiPath<ScheduleId>,
) -> Result<Response, Early> {
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = schedules::run_now(write.tx(), id, scheduling.now()).await;
    let answer = outcome.map(|task| Answer::created(task.version, format!("/v1/tasks/{}", task.id), &task));
    write.finish::<Error>(answer).await
}
