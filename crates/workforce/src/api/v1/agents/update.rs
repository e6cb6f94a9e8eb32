use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::agent::{Agent, UpdateAgent};
use crate::api::finish;
use crate::store::agents;
use crate::{AgentId, Error, Validate as _};

/// Changes an agent: a merge patch. The change names the version it is based on, in `version` or in `If-Match`.
#[utoipa::path(
    patch,
    path = "/v1/agents/{id}",
    operation_id = "update_agent",
    tag = "agents",
    params(
        ("id" = uuid::Uuid, Path, description = "the agent's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on"),
    ),
    request_body = UpdateAgent,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed agent", body = Agent, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 404, description = "no live agent has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one (`current` holds the agent), or the name is taken",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid, or `current_task_id` names no live task of the agent",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_agent(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<AgentId>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateAgent>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = agents::update(&mut tx, id, expected, &change).await;
    let agent = finish(tx, outcome).await?;
    Ok(versioned(StatusCode::OK, agent.version, &agent))
}
