use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::Validate as _;
use crate::session::{CreateSession, Session};
use crate::store::sessions;

/// Starts a session: one run of one agent.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    operation_id = "create_session",
    tag = "sessions",
    request_body = CreateSession,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new session", body = Session, headers(
            ("Location" = String, description = "the session's address"),
        )),
        (status = 422, description = "a member is invalid, or names an agent that does not exist or a task that is not the agent's",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_session(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<CreateSession>,
) -> Result<Response, Early> {
    let new = body.validated()?;
    let mut write = Once::optimistic(&db, &context, idempotency).await?;
    let outcome = sessions::start(write.tx(), &new).await;
    write.finish(outcome.map(|session| Answer::made(format!("/v1/sessions/{}", session.id), &session))).await
}
