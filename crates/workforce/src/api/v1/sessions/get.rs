use axum::Json;
use axum::extract::State;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;

use crate::session::Session;
use crate::store::sessions;
use crate::{Error, SessionId};

/// Reads a session.
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}",
    operation_id = "get_session",
    tag = "sessions",
    params(("id" = uuid::Uuid, Path, description = "the session's id")),
    responses(
        Common,
        (status = 200, description = "the session", body = Session),
        (status = 404, description = "no session has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_session(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<SessionId>,
) -> Result<Json<Session>, Problem> {
    let mut tx = db.single(&context).await.map_err(Error::from)?;
    Ok(Json(sessions::find(&mut tx, id).await?))
}
