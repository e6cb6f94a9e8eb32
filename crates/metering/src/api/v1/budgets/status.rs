use axum::Json;
use axum::extract::State;
use tenantry_http::respond::Common;
use tenantry_http::{ApiPath, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use uuid::Uuid;

use super::finish;
use crate::Metering;
use crate::budgets::{BudgetError, BudgetStatus, Span, Spent, status};
use crate::store::{budgets, leases};

/// Shows where a budget stands in its present period: spent, reserved, left, and what it comes to when it goes on like this.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}/status",
    operation_id = "get_budget_status",
    tag = "budgets",
    params(("id" = Uuid, Path, description = "the budget's id")),
    responses(
        Common,
        (status = 200, description = "where it stands", body = BudgetStatus),
        (status = 404, description = "no budget has this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_budget_status(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Json<BudgetStatus>, Problem> {
    let zone = context.tenant().time_zone;
    let now = metering.clock.now();
    let mut tx = db.read_only(&context).await.map_err(BudgetError::from)?;
    let outcome = async {
        // Found by the tenant itself, so whatever is asked of it below is the tenant's own.
        let budget = budgets::find(&mut tx, id).await?;
        let start = Span::at(budget.period, now, zone).start;
        let spent = budgets::spent(&mut tx, &budget, start, budget.period.after(start)).await?;
        Ok((budget, start, spent))
    }
    .await;
    let (budget, start, (spent, unpriced_calls)) = finish(tx, outcome).await?;
    // Servers' leases are not the tenant's to read one by one.
    let reserved = leases::reserved(&metering.db, id, start).await.map_err(BudgetError::from)?;
    Ok(Json(status(&budget, Spent { spent, reserved, unpriced_calls }, now, zone)))
}
