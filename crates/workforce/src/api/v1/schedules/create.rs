use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::schedule::{CreateSchedule, Schedule};
use crate::store::schedules;
use crate::{Error, Scheduling, Validate as _};

/// Makes a schedule: a task that comes back. It is due from now on.
#[utoipa::path(
    post,
    path = "/v1/schedules",
    operation_id = "create_schedule",
    tag = "schedules",
    request_body = CreateSchedule,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new schedule", body = Schedule, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the schedule's address"),
        )),
        (status = 422, description = "a member is invalid, or names an agent or account that does not exist", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_schedule(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(scheduling): State<Scheduling>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateSchedule>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    scheduling.check(&new.cron_expression)?;
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let zone = context.tenant().time_zone;
    let outcome = schedules::create(write.tx(), &new, zone, scheduling.now()).await;
    let answer =
        outcome.map(|schedule| Answer::created(schedule.version, format!("/v1/schedules/{}", schedule.id), &schedule));
    write.finish::<Error>(answer).await
}
