use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::schedule::{Schedule, ScheduleFilter, ScheduleOrder};
use crate::store::schedules;
use crate::{AgentId, Error, Fields, Page, Place};

/// Which schedules, in what order, and which page of them.
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
    /// The order; the newest first unless given.
    #[param(inline)]
    sort: Option<ScheduleOrder>,
    /// Only these members of each schedule, separated by commas.
    #[param(style = Form, explode = false, schema_with = crate::fields::parameter::<Schedule>, required = false)]
    fields: Option<Fields<Schedule>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters and the same order.
    cursor: Option<String>,
}

/// Lists schedules, newest first unless asked otherwise.
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
    let order = query.sort.unwrap_or(ScheduleOrder::Newest);
    let after = query.cursor.as_deref().map(|text| Place::decode(text, order)).transpose()?;
    let filter =
        ScheduleFilter { enabled: query.enabled, agent_id: query.agent_id, include_deleted: query.include_deleted };
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = schedules::list(&mut tx, &filter, order, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
