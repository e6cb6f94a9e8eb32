use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenantry_http::respond::{Common, expected_version};
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;

use super::finish;
use crate::Metering;
use crate::budgets::BudgetError;
use crate::store::budgets;

/// How a budget is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteBudget {
    /// Delete only this version; may come as `If-Match` instead. Without one, any version is deleted.
    version: Option<i64>,
}

/// Deletes a budget: it holds nothing back any more. What was spent stays recorded.
#[utoipa::path(
    delete,
    path = "/v1/budgets/{id}",
    operation_id = "delete_budget",
    tag = "budgets",
    params(
        ("id" = Uuid, Path, description = "the budget's id"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to delete"),
        DeleteBudget,
    ),
    responses(
        Common,
        (status = 204, description = "deleted"),
        (status = 404, description = "no budget has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the version is not the present one; `current` holds the budget",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete_budget(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiPath(id): ApiPath<Uuid>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<DeleteBudget>,
) -> Result<StatusCode, Problem> {
    let expected = expected_version(&headers, query.version)?;
    let mut tx = db.begin(&context).await.map_err(BudgetError::from)?;
    let outcome = budgets::delete(&mut tx, id, expected).await;
    finish(tx, outcome).await?;
    metering.budgets.changed();
    Ok(StatusCode::NO_CONTENT)
}
