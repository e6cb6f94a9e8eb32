use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;

use crate::api::finish;
use crate::store::agents;
use crate::{AgentId, Error};

/// How an agent is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteAgent {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes an agent. The row stays and is shown to whoever asks for deleted ones. Its tasks stay, it gets no new ones, and its name is free again.
#[utoipa::path(
    delete,
    path = "/v1/agents/{id}",
    operation_id = "delete_agent",
    tag = "agents",
    params(
        ("id" = uuid::Uuid, Path, description = "the agent's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteAgent,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no live agent has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the agent",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_agent(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<AgentId>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteAgent>,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(Error::from)?;
    let outcome = agents::delete(&mut tx, id, expected).await;
    finish(tx, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}
