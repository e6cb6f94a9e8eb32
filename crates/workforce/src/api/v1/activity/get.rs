use axum::Json;
use axum::extract::State;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::activity::Activity;
use crate::store::activity;
use crate::{ActivityId, Error};

/// Reads an entry of the activity log.
#[utoipa::path(
    get,
    path = "/v1/activity/{id}",
    operation_id = "get_activity",
    tag = "activity",
    params(("id" = uuid::Uuid, Path, description = "the entry's id")),
    responses(
        Common,
        (status = 200, description = "the entry", body = Activity),
        (status = 404, description = "no entry has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_activity(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<ActivityId>,
) -> Result<Json<Activity>, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(activity::find(&mut tx, id).await?))
}
