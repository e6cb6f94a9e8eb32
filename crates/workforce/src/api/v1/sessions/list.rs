use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::query::instant;
use crate::session::{Session, SessionFilter, SessionOrder, SessionStatus};
use crate::several::{Several, all_of};
use crate::store::sessions;
use crate::{AgentId, Error, Fields, Page, Place, TaskId};

/// Which sessions, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSessions {
    /// Only of this agent.
    #[param(value_type = Option<uuid::Uuid>)]
    agent_id: Option<AgentId>,
    /// Only on this task.
    #[param(value_type = Option<uuid::Uuid>)]
    task_id: Option<TaskId>,
    /// Only with one of these statuses, separated by commas.
    #[param(min_items = 1, value_type = Option<Vec<SessionStatus>>, inline)]
    status: Option<Several<SessionStatus>>,
    /// Only those started at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    since: Option<DateTime<Utc>>,
    /// Only those started before this instant.
    until: Option<DateTime<Utc>>,
    /// The order; the newest first unless given. A minus turns it round.
    #[param(inline)]
    sort: Option<SessionOrder>,
    /// Only these members of each session, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Session>, required = false)]
    fields: Option<Fields<Session>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters and the same order.
    cursor: Option<String>,
}

impl ListSessions {
    fn filter(&self) -> Result<SessionFilter, Error> {
        Ok(SessionFilter {
            agent_id: self.agent_id,
            task_id: self.task_id,
            statuses: all_of(self.status.clone()),
            since: instant("since", self.since)?,
            until: instant("until", self.until)?,
        })
    }
}

/// Lists sessions, the one started last first unless asked otherwise.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    operation_id = "list_sessions",
    tag = "sessions",
    params(ListSessions),
    responses(Common, (status = 200, description = "a page of sessions", body = Page<Session>)),
)]
pub(super) async fn list_sessions(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListSessions>,
) -> Result<Json<Page<Session>>, Problem> {
    let filter = query.filter()?;
    let limit = Limit::from_query(query.limit)?;
    let order = query.sort.unwrap_or(SessionOrder::Newest);
    let after = query.cursor.as_deref().map(|text| Place::decode(text, order)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = sessions::list(&mut tx, &filter, order, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
