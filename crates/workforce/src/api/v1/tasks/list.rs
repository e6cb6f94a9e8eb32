use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::checks::is_sane_instant;
use crate::store::tasks;
use crate::task::{Priority, Task, TaskFilter};
use crate::{AgentId, Error, List, Page, Position, TaskStatus};

/// Which tasks, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTasks {
    /// Only with this status.
    #[param(inline)]
    status: Option<TaskStatus>,
    /// Only with this priority.
    #[param(inline)]
    priority: Option<Priority>,
    /// Only this agent's.
    #[param(value_type = Option<uuid::Uuid>)]
    agent_id: Option<AgentId>,
    /// Only those this agent gave.
    #[param(value_type = Option<uuid::Uuid>)]
    created_by_id: Option<AgentId>,
    /// Only with a deadline before this instant (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    deadline_before: Option<DateTime<Utc>>,
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

impl ListTasks {
    fn filter(&self) -> Result<TaskFilter, Error> {
        if self.deadline_before.is_some_and(|at| !is_sane_instant(at)) {
            return Err(Error::InvalidQuery {
                parameter: "deadline_before",
                detail: "must lie in the years 1970 to 9999".to_owned(),
            });
        }
        Ok(TaskFilter {
            status: self.status,
            priority: self.priority,
            agent_id: self.agent_id,
            created_by_id: self.created_by_id,
            deadline_before: self.deadline_before,
            include_deleted: self.include_deleted,
        })
    }
}

/// Lists tasks, newest first.
#[utoipa::path(
    get,
    path = "/v1/tasks",
    operation_id = "list_tasks",
    tag = "tasks",
    params(ListTasks),
    responses(Common, (status = 200, description = "a page of tasks", body = Page<Task>)),
)]
pub(super) async fn list_tasks(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListTasks>,
) -> Result<Json<Page<Task>>, Problem> {
    let filter = query.filter()?;
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Tasks)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(tasks::list(&mut tx, &filter, after, limit).await?))
}
