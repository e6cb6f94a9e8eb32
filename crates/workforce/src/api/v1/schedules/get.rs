use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::{Common, versioned};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::schedule::Schedule;
use crate::store::schedules;
use crate::{Error, ScheduleId};

/// How a schedule is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetSchedule {
    /// Also if it is deleted.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
}

/// Reads a schedule, with its next five runs.
#[utoipa::path(
    get,
    path = "/v1/schedules/{id}",
    operation_id = "get_schedule",
    tag = "schedules",
    params(("id" = uuid::Uuid, Path, description = "the schedule's id"), GetSchedule),
    responses(
        Common,
        (status = 200, description = "the schedule", body = Schedule, headers(("ETag" = String, description = "the version"))),
        (status = 404, description = "no live schedule has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_schedule(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ScheduleId>,
    ApiQuery(query): ApiQuery<GetSchedule>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let schedule = schedules::find(&mut tx, id, query.include_deleted).await?;
    Ok(versioned(StatusCode::OK, schedule.version, &schedule))
}
