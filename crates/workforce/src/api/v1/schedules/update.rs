use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::api::finish;
use crate::schedule::{Schedule, UpdateSchedule};
use crate::store::schedules;
use crate::{Error, ScheduleId, Scheduling, Validate as _};

/// Changes a schedule: a merge patch. The change names the version it is based on, in `version` or in `If-Match`; a run counts as a
/// change, too. New times count from now on.
#[utoipa::path(
    patch,
    path = "/v1/schedules/{id}",
    operation_id = "update_schedule",
    tag = "schedules",
    params(
        ("id" = uuid::Uuid, Path, description = "the schedule's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateSchedule,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed schedule", body = Schedule, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 404, description = "no live schedule has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the schedule",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or names an agent or account that does not exist",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_schedule(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(scheduling): State<Scheduling>,
    ApiPath(id): ApiPath<ScheduleId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateSchedule>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    if let Some(expression) = change.cron_expression.value() {
        scheduling.check(expression)?;
    }
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = schedules::update(&mut tx, id, expected, &change, scheduling.now()).await;
    let schedule = finish(tx, outcome).await?;
    Ok(versioned(StatusCode::OK, schedule.version, &schedule))
}
