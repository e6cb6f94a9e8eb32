use axum::Json;
use axum::extract::State;
use tenantry_http::{OperatorScope, Problem};
use tenantry_postgres::Provisioner;

use crate::api::respond::Common;
use crate::model::Plan;
use crate::page::Page;

/// Lists the plans, the smallest first. They are few, so this is always one page.
#[utoipa::path(
    get,
    path = "/admin/v1/plans",
    operation_id = "list_plans",
    tag = "plans",
    responses(Common, (status = 200, description = "all plans", body = Page<Plan>)),
)]
pub(super) async fn list_plans(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
) -> Result<Json<Page<Plan>>, Problem> {
    let data = provisioner.plans().await?.into_iter().map(Plan::from).collect();
    Ok(Json(Page { data, next_cursor: None }))
}
