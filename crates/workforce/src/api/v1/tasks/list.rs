use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::query::{instant, text};
use crate::several::{Several, all_of};
use crate::store::tasks;
use crate::task::{MAX_TITLE_CHARS, Priority, Task, TaskFilter, TaskOrder};
use crate::{AgentId, Error, Fields, Page, Place, TaskStatus};

/// Which tasks, in what order, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTasks {
    /// Only with one of these statuses, separated by commas.
    #[param(min_items = 1, value_type = Option<Vec<TaskStatus>>, inline)]
    status: Option<Several<TaskStatus>>,
    /// Only with one of these priorities, separated by commas.
    #[param(min_items = 1, value_type = Option<Vec<Priority>>, inline)]
    priority: Option<Several<Priority>>,
    /// Only this agent's.
    #[param(value_type = Option<uuid::Uuid>)]
    agent_id: Option<AgentId>,
    /// Only those this agent gave.
    #[param(value_type = Option<uuid::Uuid>)]
    created_by_id: Option<AgentId>,
    /// Only with a deadline before this instant (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    deadline_before: Option<DateTime<Utc>>,
    /// Only made at this instant or later.
    created_after: Option<DateTime<Utc>>,
    /// Only made before this instant.
    created_before: Option<DateTime<Utc>>,
    /// Only with this somewhere in the title, upper and lower case alike.
    #[param(max_length = 300)]
    q: Option<String>,
    /// `true`: only those that could be started now, which are pending and depend on nothing that is not completed. `false`:
    /// only the others.
    ready: Option<bool>,
    /// Deleted ones as well.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
    /// The order; the newest first unless given. A minus turns it round. Without a deadline counts as due last.
    #[param(inline)]
    sort: Option<TaskOrder>,
    /// Only these members of each task, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Task>, required = false)]
    fields: Option<Fields<Task>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters and the same order.
    cursor: Option<String>,
}

/// Lists tasks, newest first unless asked otherwise.
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
    let filter = TaskFilter {
        status: all_of(query.status),
        priority: all_of(query.priority),
        agent_id: query.agent_id,
        created_by_id: query.created_by_id,
        deadline_before: instant("deadline_before", query.deadline_before)?,
        created_after: instant("created_after", query.created_after)?,
        created_before: instant("created_before", query.created_before)?,
        search: text("q", query.q, MAX_TITLE_CHARS)?,
        ready: query.ready,
        include_deleted: query.include_deleted,
    };
    let limit = Limit::from_query(query.limit)?;
    let order = query.sort.unwrap_or(TaskOrder::Newest);
    let after = query.cursor.as_deref().map(|text| Place::decode(text, order)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = tasks::list(&mut tx, &filter, order, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
