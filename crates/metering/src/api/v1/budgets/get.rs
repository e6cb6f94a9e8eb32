use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, unless_known};
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;

use crate::budgets::{Budget, BudgetError};
use crate::store::budgets;

/// Reads a budget. How much of it is spent is in its status.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}",
    operation_id = "get_budget",
    tag = "budgets",
    params(
        ("id" = Uuid, Path, description = "the budget's id"),
        ("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again"),
    ),
    responses(
        Common,
        (status = 200, description = "the budget", body = Budget, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
        (status = 404, description = "no budget has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_budget(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiPath(id): ApiPath<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut tx = db.single(&context).await.map_err(BudgetError::from)?;
    let budget = budgets::find(&mut tx, id).await?;
    Ok(unless_known(&headers, budget.version, &budget))
}
