use axum::Json;
use axum::extract::State;
use tenantry_http::{ApiPath, Problem, ProblemBody};
use tenantry_postgres::Provisioner;
use uuid::Uuid;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant};
use crate::model::Operator;

/// Revokes an operator's token: every server refuses it within a second. The last valid one of an admin stays, so that nobody
/// locks everybody out. Revoking again changes nothing.
#[utoipa::path(
    delete,
    path = "/admin/v1/operators/{id}",
    operation_id = "revoke_operator",
    tag = "operators",
    params(("id" = Uuid, Path, description = "the operator's id")),
    responses(
        Common,
        OfTenant,
        (status = 200, description = "the operator with the revoked token", body = Operator),
        (status = 409, description = "it is the last valid token of an admin", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke_operator(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Json<Operator>, Problem> {
    Ok(Json(provisioner.revoke_operator_token(id, &actor).await?.into()))
}
