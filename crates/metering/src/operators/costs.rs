use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::Deserialize;
use tenantry_control::Common;
use tenantry_control::Page;
use tenantry_http::{ApiQuery, Limit, OperatorScope, Problem};
use utoipa::IntoParams;

use super::page;
use super::respond::{period, text};
use crate::Metering;
use crate::reports::{CostBy, CostOrder, CostQuery, OperatorCost, costs};

/// Of what, of when, and in what order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListCosts {
    /// `tenant` unless given, or `plan`, `provider`, `model`.
    #[param(inline)]
    by: Option<CostBy>,
    /// The first day, of each tenant's own clock; the first of the last day's month unless given.
    #[param(example = "2026-10-01")]
    from: Option<NaiveDate>,
    /// The last day; today (UTC) unless given.
    #[param(example = "2026-10-31")]
    to: Option<NaiveDate>,
    /// Only of the tenant with this slug.
    tenant: Option<String>,
    /// Only of this provider.
    provider: Option<String>,
    /// `cost` unless given, or `calls`, `unpriced` (each the most first), or `name`.
    #[param(inline)]
    sort: Option<CostOrder>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// Shows what tenants, plans, providers or models cost in a period, with how much of it is sure.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/costs",
    operation_id = "list_metering_costs",
    tag = "metering",
    params(ListCosts),
    responses(Common, (status = 200, description = "a page of costs", body = Page<OperatorCost>)),
)]
pub(super) async fn list_metering_costs(
    _: OperatorScope,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ListCosts>,
) -> Result<Json<Page<OperatorCost>>, Problem> {
    let limit = Limit::from_query(query.limit)?;
    let after = page::place("costs", query.cursor.as_deref())?;
    let which = CostQuery {
        period: period(query.from, query.to, metering.clock.now())?,
        by: query.by.unwrap_or(CostBy::Tenant),
        tenant: text("tenant", query.tenant)?,
        provider: text("provider", query.provider)?,
        sort: query.sort.unwrap_or(CostOrder::Cost),
    };
    let tx = metering.db.snapshot().await?;
    let rows = costs(&tx, &which, after.as_ref(), limit.probe()).await?;
    tx.rollback().await?;
    Ok(Json(page::placed(rows, limit, "costs")))
}
