use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::{Common, unless_known};
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
    params(
        ("id" = uuid::Uuid, Path, description = "the schedule's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
        GetSchedule,
    ),
    responses(
        Common,
        (status = 200, description = "the schedule", body = Schedule, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no live schedule has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_schedule(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ScheduleId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetSchedule>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let schedule = schedules::find(&mut tx, id, query.include_deleted).await?;
    Ok(unless_known(&headers, schedule.version, &schedule))
}
