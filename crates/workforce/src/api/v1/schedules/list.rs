use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::schedule::{Schedule, ScheduleFilter};
use crate::store::schedules;
use crate::{AgentId, Error, List, Page, Position};

/// Which schedules, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSchedules {
    /// Only those that are enabled, or only those that are not.
    enabled: Option<bool>,
    /// Only this agent's.
    #[param(value_type = Option<uuid::Uuid>)]
    agent_id: Option<AgentId>,
    /// Deleted ones as well.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists schedules, newest first.
#[utoipa::path(
    get,
    path = "/v1/schedules",
    operation_id = "list_schedules",
    tag = "schedules",
    params(ListSchedules),
    responses(Common, (status = 200, description = "a page of schedules", body = Page<Schedule>)),
)]
pub(super) async fn list_schedules(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListSchedules>,
) -> Result<Json<Page<Schedule>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Schedules)).transpose()?;
    let filter = ScheduleFilter {
        enabled: query.enabled,
        agent_id: query.agent_id,
        include_deleted: query.include_deleted,
    };
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(schedules::list(&mut tx, &filter, after, limit).await?))
}
