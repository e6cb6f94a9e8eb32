use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::finish;
use crate::store::schedules;
use crate::{Error, ScheduleId};

/// How a schedule is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteSchedule {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes a schedule: it is never due again. Its tasks stay, and so does the row, which is shown to whoever asks for deleted ones.
#[utoipa::path(
    delete,
    path = "/v1/schedules/{id}",
    operation_id = "delete_schedule",
    tag = "schedules",
    params(
        ("id" = uuid::Uuid, Path, description = "the schedule's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteSchedule,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no live schedule has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the schedule",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_schedule(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ScheduleId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteSchedule>,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = schedules::delete(&mut tx, id, expected).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
