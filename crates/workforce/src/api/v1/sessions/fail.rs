use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::Common;
use tenantry_http::{Answer, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::SessionId;
use crate::session::{Session, SessionStatus};
use crate::store::sessions;

/// Ends a session that broke off, once.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/fail",
    operation_id = "fail_session",
    tag = "sessions",
    params(("id" = uuid::Uuid, Path, description = "the session's id")),
    responses(
        Common,
        (status = 402, description = "the plan's storage is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 200, description = "the session", body = Session),
        (status = 404, description = "no session has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the session has ended before; `current` holds it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the idempotency key came with another request before", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn fail_session(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiPath(id): ApiPath<SessionId>,
) -> Result<Response, Early> {
    let mut write = Once::begin(&db, &context, idempotency).await?;
    let outcome = sessions::end(write.tx(), id, SessionStatus::Failed).await;
    write.finish(outcome.map(|session| Answer::ok(&session))).await
}
