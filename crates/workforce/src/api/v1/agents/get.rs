use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::agent::Agent;
use crate::store::agents;
use crate::{AgentId, Error};

/// How an agent is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetAgent {
    /// Also if it is deleted.
    #[serde(default)]
    #[param(required = false)]
    include_deleted: bool,
}

/// Reads an agent.
#[utoipa::path(
    get,
    path = "/v1/agents/{id}",
    operation_id = "get_agent",
    tag = "agents",
    params(
        ("id" = uuid::Uuid, Path, description = "the agent's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
        GetAgent,
    ),
    responses(
        Common,
        (status = 200, description = "the agent", body = Agent, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no live agent has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_agent(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<AgentId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<GetAgent>,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    let agent = agents::find(&mut tx, id, query.include_deleted).await?;
    Ok(unless_known(&headers, agent.version, &agent))
}
