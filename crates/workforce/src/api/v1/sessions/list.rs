use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::api::query::instant;
use crate::session::{Session, SessionFilter, SessionStatus};
use crate::store::sessions;
use crate::{AgentId, Error, List, Page, Position, TaskId};

/// Which sessions, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSessions {
    /// Only of this agent.
    #[param(value_type = Option<Uuid>)]
    agent_id: Option<AgentId>,
    /// Only on this task.
    #[param(value_type = Option<Uuid>)]
    task_id: Option<TaskId>,
    /// Only with this status.
    #[param(inline)]
    status: Option<SessionStatus>,
    /// Only those started at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    since: Option<DateTime<Utc>>,
    /// Only those started before this instant.
    until: Option<DateTime<Utc>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

impl ListSessions {
    fn filter(&self) -> Result<SessionFilter, Error> {
        Ok(SessionFilter {
            agent_id: self.agent_id,
            task_id: self.task_id,
            statuses: self.status.into_iter().collect(),
            since: instant("since", self.since)?,
            until: instant("until", self.until)?,
        })
    }
}

/// Lists sessions, the one started last first.
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
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Sessions)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(sessions::list(&mut tx, &filter, after, limit).await?))
}
