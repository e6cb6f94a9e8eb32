use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::agent::{Agent, CreateAgent};
use crate::store::agents;

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
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateAgent>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::optimistic(&db, &context, idempotency).await?;
    let outcome = agents::create(write.tx(), &new).await;
    write.finish(outcome.map(|agent| Answer::created(agent.version, format!("/v1/agents/{}", agent.id), &agent))).await
}
