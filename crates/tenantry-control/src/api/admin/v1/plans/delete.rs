use axum::Json;
use axum::extract::State;
use tenantry_http::{ApiPath, Problem, ProblemBody};
use tenantry_postgres::Provisioner;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant};
use crate::model::Plan;

/// Removes a plan that no tenant is on. Deleted tenants count as long as they can be restored.
#[utoipa::path(
    delete,
    path = "/admin/v1/plans/{tier}",
    operation_id = "delete_plan",
    tag = "plans",
    params(("tier" = String, Path, description = "the plan's name")),
    responses(
        Common,
        OfTenant,
        (status = 200, description = "the plan as it was", body = Plan),
        (status = 409, description = "tenants are on the plan", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_plan(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath(tier): ApiPath<String>,
) -> Result<Json<Plan>, Problem> {
    Ok(Json(provisioner.delete_plan(&tier, &actor).await?.into()))
}
