use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::activity::{Activity, ActivityFilter};
use crate::api::query::instant;
use crate::store::activity;
use crate::{AgentId, Error, List, Page, Position, TaskId};

/// Which entries, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListActivity {
    /// Only of this agent.
    #[param(value_type = Option<Uuid>)]
    agent_id: Option<AgentId>,
    /// Only on this task.
    #[param(value_type = Option<Uuid>)]
    task_id: Option<TaskId>,
    /// Only this action.
    action: Option<String>,
    /// Only those written at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    since: Option<DateTime<Utc>>,
    /// Only those written before this instant.
    until: Option<DateTime<Utc>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

impl ListActivity {
    fn filter(&self) -> Result<ActivityFilter, Error> {
        Ok(ActivityFilter {
            agent_id: self.agent_id,
            task_id: self.task_id,
            actions: self.action.iter().cloned().collect(),
            since: instant("since", self.since)?,
            until: instant("until", self.until)?,
        })
    }
}

/// Lists the activity log, newest first.
#[utoipa::path(
    get,
    path = "/v1/activity",
    operation_id = "list_activity",
    tag = "activity",
    params(ListActivity),
    responses(Common, (status = 200, description = "a page of entries", body = Page<Activity>)),
)]
pub(super) async fn list_activity(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListActivity>,
) -> Result<Json<Page<Activity>>, Problem> {
    let filter = query.filter()?;
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Activity)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(activity::list(&mut tx, &filter, after, limit).await?))
}
