use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;

use super::{Period, Place, part};
use crate::reports::ReportSettings;
use crate::statements::Month;
use crate::store::reports as store;

/// Which margins.
#[derive(Debug, Clone, Copy)]
pub struct MarginQuery {
    /// Of which month of the tenants' clocks.
    pub month: Month,
    /// Each tenant by itself, and not each plan.
    pub by_tenant: bool,
}

/// What a plan or a tenant pays for a month and costs in it. A plan's price is what the operator has set; the plan is the present one, and a
/// month that goes on has its whole price and only a part of its costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanMargin {
    /// The plan, or the tenant's slug.
    #[schema(example = "starter")]
    pub name: String,
    /// The plan.
    pub plan_tier: String,
    /// Tenants that pay: active ones, and others with calls in the month.
    pub tenants: i64,
    /// Attempts.
    pub calls: i64,
    /// Attempts without a price, which are not in the costs.
    pub unpriced_calls: i64,
    /// Tenants times price; `null` when the plan's price is not set.
    #[schema(required, value_type = Option<String>, example = "490.00")]
    pub revenue_usd: Option<Decimal>,
    /// What providers are owed for it.
    #[schema(value_type = String, example = "301.120000000000")]
    pub cost_usd: Decimal,
    /// What is left: revenue less cost.
    #[schema(required, value_type = Option<String>, example = "188.880000000000")]
    pub margin_usd: Option<Decimal>,
    /// What is left of the revenue, as a percentage.
    #[schema(required, value_type = Option<String>, example = "38.5469")]
    pub margin_percent: Option<Decimal>,
}

/// Margins, the least first, each with its place. Where a plan has no price, its place is that of a price of nothing.
///
/// # Errors
/// [`DbError`].
pub async fn margins(
    tx: &MeterTx,
    settings: &ReportSettings,
    query: MarginQuery,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<(Place, PlanMargin)>, DbError> {
    let period = Period::month(query.month);
    let prices: Vec<(String, Decimal)> = settings.plan_prices.clone().into_iter().collect();
    let days = (period.from, period.until());
    let rows = store::margins(tx, days, &prices, query.by_tenant, Place::of(after), limit).await?;
    let shown = |row: store::Margin| {
        let margin = row.revenue.map(|revenue| revenue - row.cost);
        let percent = margin.zip(row.revenue).and_then(|(margin, revenue)| part(margin, revenue));
        let shown = PlanMargin {
            name: row.name.clone(),
            plan_tier: row.plan,
            tenants: row.tenants,
            calls: row.calls,
            unpriced_calls: row.unpriced,
            revenue_usd: row.revenue,
            cost_usd: row.cost,
            margin_usd: margin,
            margin_percent: percent.map(|part| (part * Decimal::ONE_HUNDRED).normalize()),
        };
        (Place { figure: row.place, name: row.name }, shown)
    };
    Ok(rows.into_iter().map(shown).collect())
}
