use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::agent::{Agent, AgentFilter, AgentOrder, AgentStatus, MAX_NAME_CHARS, MAX_ROLE_CHARS};
use crate::api::query::{instant, text};
use crate::several::{Several, all_of};
use crate::store::agents;
use crate::{Error, Fields, Page, Place};

/// Which agents, in what order, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAgents {
    /// Only with one of these statuses, separated by commas.
    #[param(min_items = 1, value_type = Option<Vec<AgentStatus>>, inline)]
    status: Option<Several<AgentStatus>>,
    /// Only with exactly this role.
    #[param(max_length = 100)]
    role: Option<String>,
    /// Only names that start with this, upper and lower case alike.
    #[param(max_length = 200)]
    name: Option<String>,
    /// Only with this somewhere in the name or the role, upper and lower case alike.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Only made at this instant or later (RFC 3339; write UTC as `Z`, a `+` in a URL is a space).
    created_after: Option<DateTime<Utc>>,
    /// Only made before this instant.
    created_before: Option<DateTime<Utc>>,
    /// Deleted ones as well.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
    /// The order; the newest first unless given. A minus turns it round.
    #[param(inline)]
    sort: Option<AgentOrder>,
    /// Only these members of each agent, separated by commas.
    #[param(schema_with = crate::fields::parameter::<Agent>, required = false)]
    fields: Option<Fields<Agent>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters and the same order.
    cursor: Option<String>,
}

/// Lists agents, newest first unless asked otherwise.
#[utoipa::path(
    get,
    path = "/v1/agents",
    operation_id = "list_agents",
    tag = "agents",
    params(ListAgents),
    responses(Common, (status = 200, description = "a page of agents", body = Page<Agent>)),
)]
pub(super) async fn list_agents(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListAgents>,
) -> Result<Json<Page<Agent>>, Problem> {
    let filter = AgentFilter {
        status: all_of(query.status),
        role: text("role", query.role, MAX_ROLE_CHARS)?,
        name_prefix: text("name", query.name, MAX_NAME_CHARS)?,
        search: text("q", query.q, MAX_NAME_CHARS)?,
        created_after: instant("created_after", query.created_after)?,
        created_before: instant("created_before", query.created_before)?,
        include_deleted: query.include_deleted,
    };
    let limit = Limit::from_query(query.limit)?;
    let order = query.sort.unwrap_or(AgentOrder::Newest);
    let after = query.cursor.as_deref().map(|text| Place::decode(text, order)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let page = agents::list(&mut tx, &filter, order, after.as_ref(), limit).await?;
    Ok(Json(page.only(query.fields)))
}
