use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::activity::{Activity, ActivityFilter, ActivityOrder, MAX_ACTION_CHARS};
use crate::api::query::{instant, text};
use crate::several::{Several, all_of};
use crate::store::activity;
use crate::{AgentId, Error, Fields, Page, Place, TaskId};

/// Which entries, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListActivity {
    /// Only of this agent.
    #[param(value_type = Option<uuid::Uuid>)]
    agent_id: Option<AgentId>,
    /// Only on this task.
    #[param(value_type = Option<uuid::Uuid>)]
    task_id: Option<TaskId>,
    /// Only one of these actions, separated by commas.
    #[param(min_items = 1, value_type = Option<Vec<String>>)]
    action: Option<Several<String>>,
    /// Only those written at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    since: Option<DateTime<Utc>>,
    /// Only those written before this instant.
    until: Option<DateTime<Utc>>,
    /// The order; the newest first unless given. A minus turns it round.
    #[param(inline)]
    sort: Option<ActivityOrder>,
    /// Only these members of each entry, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Activity>, required = false)]
    fields: Option<Fields<Activity>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters and the same order.
    cursor: Option<String>,
}

impl ListActivity {
    fn filter(&self) -> Result<ActivityFilter, Error> {
        let actions = all_of(self.action.clone());
        for action in &actions {
            text("action", Some(action.clone()), MAX_ACTION_CHARS)?;
        }
        Ok(ActivityFilter {
            agent_id: self.agent_id,
            task_id: self.task_id,
            actions,
            since: instant("since", self.since)?,
            until: instant("until", self.until)?,
        })
    }
}

/// Lists the activity log, newest first unless asked otherwise.
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
    let order = query.sort.unwrap_or(ActivityOrder::Newest);
    let after = query.cursor.as_deref().map(|text| Place::decode(text, order)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = activity::list(&mut tx, &filter, order, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
