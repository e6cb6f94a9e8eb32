use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Limit, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use uuid::Uuid;
use workforce::{Fields, List, Page, Position};

use crate::budgets::{Budget, BudgetError, Scope};
use crate::store::budgets;

/// Which budgets, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListBudgets {
    /// Only those that count whose spending.
    #[param(inline)]
    scope: Option<Scope>,
    /// Only those of this agent or key.
    scope_id: Option<Uuid>,
    /// Only these members of each budget, separated by commas.
    #[param(schema_with = workforce::fields::parameter::<Budget>, required = false)]
    fields: Option<Fields<Budget>>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists budgets, the newest first.
#[utoipa::path(
    get,
    path = "/v1/budgets",
    operation_id = "list_budgets",
    tag = "budgets",
    params(ListBudgets),
    responses(Common, (status = 200, description = "a page of budgets", body = Page<Budget>)),
)]
pub(super) async fn list_budgets(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    ApiQuery(query): ApiQuery<ListBudgets>,
) -> Result<Json<Page<Budget>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = query.cursor.as_deref().map(|text| Position::decode(text, List::Budgets)).transpose()?;
    let mut tx = db.single(&context).await.map_err(BudgetError::from)?;
    Ok(Json(budgets::list(&mut tx, query.scope, query.scope_id, after, limit).await?.only(query.fields)))
}
