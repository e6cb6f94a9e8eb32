use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::agent::{Agent, AgentFilter, AgentStatus, MAX_NAME_CHARS, MAX_ROLE_CHARS};
use crate::store::agents;
use crate::{Error, List, Page, Position};

/// Which agents, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAgents {
    /// Only with this status.
    #[param(inline)]
    status: Option<AgentStatus>,
    /// Only with exactly this role.
    role: Option<String>,
    /// Only names that start with this, upper and lower case alike.
    name: Option<String>,
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

impl ListAgents {
    fn filter(&self) -> Result<AgentFilter, Error> {
        Ok(AgentFilter {
            status: self.status,
            role: text("role", self.role.as_deref(), MAX_ROLE_CHARS)?,
            name_prefix: text("name", self.name.as_deref(), MAX_NAME_CHARS)?,
            include_deleted: self.include_deleted,
        })
    }
}

/// A text to compare with: nothing that the column could not hold, or PostgreSQL would refuse the whole statement.
fn text(parameter: &'static str, given: Option<&str>, max: usize) -> Result<Option<String>, Error> {
    match given {
        Some(text) if text.chars().count() > max || text.contains('\0') => {
            Err(Error::InvalidQuery { parameter, detail: format!("must have at most {max} characters and no NUL") })
        }
        other => Ok(other.map(str::to_owned)),
    }
}

/// Lists agents, newest first.
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
    let filter = query.filter()?;
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Agents)).transpose()?;
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(agents::list(&mut tx, &filter, after, limit).await?))
}
