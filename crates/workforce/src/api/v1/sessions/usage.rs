use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, ApiPath, Early, Idempotency, Once, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::session::{ReportUsage, Session};
use crate::store::sessions;
use crate::{SessionId, Validate as _};

/// Adds tokens and tool calls to a session. Reports are added up, also those that arrive at the same time; one that is
/// repeated with its `Idempotency-Key` counts once.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/usage",
    operation_id = "report_session_usage",
    tag = "sessions",
    params(("id" = uuid::Uuid, Path, description = "the session's id")),
    request_body = ReportUsage,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the session with what it has used so far", body = Session),
        (status = 404, description = "no session has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the session has ended (`current` holds it), or holds all it can", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn report_session_usage(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    idempotency: Idempotency,
    ApiPath(id): ApiPath<SessionId>,
    ApiJson(body): ApiJson<ReportUsage>,
) -> Result<Response, Early> {
    let report = body.validated()?;
    let mut write = Once::optimistic(&db, &context, idempotency).await?;
    let outcome = sessions::report(write.tx(), id, &report).await;
    write.finish(outcome.map(|session| Answer::ok(&session))).await
}
