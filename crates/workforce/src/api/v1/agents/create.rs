use axum::extract::State;
use axum::response::Response;
use tenantry_http::{ApiJson, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::agent::{Agent, CreateAgent};
use crate::api::finish;
use crate::api::respond::{Common, WithBody, created};
use crate::store::agents;
use crate::{Error, Validate as _};

/// Makes an agent.
#[utoipa::path(
    post,
    path = "/v1/agents",
    operation_id = "create_agent",
    tag = "agents",
    request_body = CreateAgent,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new agent", body = Agent, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the agent's address"),
        )),
        (status = 409, description = "the name is taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_agent(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiJson(body): ApiJson<CreateAgent>,
) -> Result<Response, Problem> {
    let new = body.validated()?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = agents::create(&mut tx, &new).await;
    let agent = finish(tx, outcome).await?;
    Ok(created(agent.version, format!("/v1/agents/{}", agent.id), &agent))
}
