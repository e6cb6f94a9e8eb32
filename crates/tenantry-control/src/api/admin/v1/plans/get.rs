use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_http::{ApiPath, OperatorScope, Problem};
use tenantry_postgres::Provisioner;

use crate::api::respond::{Common, OfTenant, plan};
use crate::model::Plan;

/// Shows a plan.
#[utoipa::path(
    get,
    path = "/admin/v1/plans/{tier}",
    operation_id = "get_plan",
    tag = "plans",
    params(("tier" = String, Path, description = "the plan's name")),
    responses(
        Common,
        OfTenant,
        (status = 200, description = "the plan", body = Plan, headers(("ETag" = String, description = "the version"))),
    ),
)]
pub(super) async fn get_plan(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiPath(tier): ApiPath<String>,
) -> Result<Response, Problem> {
    Ok(plan(StatusCode::OK, provisioner.plan(&tier).await?))
}
