use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;
use workforce::text_enum;

use super::{Period, Place};
use crate::store::reports::{self as store, CostFilter};

text_enum! {
    /// What costs are put together by.
    pub enum CostBy("grouping of costs") {
        /// Each tenant.
        Tenant = "tenant",
        /// The plans that tenants have now.
        Plan = "plan",
        /// Each provider.
        Provider = "provider",
        /// Each provider's models.
        Model = "model",
    }
}

text_enum! {
    /// What comes first.
    pub enum CostOrder("order of costs") {
        /// What cost most.
        Cost = "cost",
        /// What was called most.
        Calls = "calls",
        /// What has most calls without a price.
        Unpriced = "unpriced",
        /// By name.
        Name = "name",
    }
}

/// Which costs.
#[derive(Debug, Clone)]
pub struct CostQuery {
    /// Of which days of the tenants' clocks.
    pub period: Period,
    /// By what.
    pub by: CostBy,
    /// Only of the tenant with this slug.
    pub tenant: Option<String>,
    /// Only of this provider.
    pub provider: Option<String>,
    /// In what order.
    pub sort: CostOrder,
}

/// What a tenant, a plan, a provider or a model cost in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorCost {
    /// The slug of the tenant (its id when it is purged), the plan, the provider, or `provider/model`.
    #[schema(example = "acme")]
    pub name: String,
    /// Tenants with calls.
    pub tenants: i64,
    /// Attempts.
    pub calls: i64,
    /// Attempts that did what was asked.
    pub successful_calls: i64,
    /// Attempts with a price: the coverage of the costs.
    pub priced_calls: i64,
    /// Attempts without a price, which are not in the costs.
    pub unpriced_calls: i64,
    /// Attempts with tokens that we counted.
    pub estimated_calls: i64,
    /// Attempts never seen to end, at the most they can have cost.
    pub unsettled_calls: i64,
    /// Tokens in.
    pub tokens_input: i64,
    /// Tokens out.
    pub tokens_output: i64,
    /// All of it, unrounded.
    #[schema(value_type = String, example = "412.339900000000")]
    pub cost_usd: Decimal,
    /// Of it, changes of what earlier calls cost.
    #[schema(value_type = String)]
    pub adjustments_usd: Decimal,
    /// Of it, attempts that failed.
    #[schema(value_type = String)]
    pub failed_cost_usd: Decimal,
    /// Of it, attempts whose tokens the provider did not tell.
    #[schema(value_type = String)]
    pub estimated_cost_usd: Decimal,
}

/// What things cost in a period, each with its place.
///
/// # Errors
/// [`DbError`].
pub async fn costs(
    tx: &MeterTx,
    query: &CostQuery,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<(Place, OperatorCost)>, DbError> {
    let filter = CostFilter {
        from: query.period.from,
        until: query.period.until(),
        by: query.by.as_str(),
        tenant: query.tenant.as_deref(),
        provider: query.provider.as_deref(),
        sort: query.sort.as_str(),
        after: Place::of(after),
        limit,
    };
    let rows = store::costs(tx, &filter).await?;
    let shown = |row: store::Cost| {
        let cost = OperatorCost {
            name: row.name.clone(),
            tenants: row.tenants,
            calls: row.calls,
            successful_calls: row.successful,
            priced_calls: row.calls - row.unpriced,
            unpriced_calls: row.unpriced,
            estimated_calls: row.estimated,
            unsettled_calls: row.unsettled,
            tokens_input: row.tokens_input,
            tokens_output: row.tokens_output,
            cost_usd: row.cost,
            adjustments_usd: row.adjustments,
            failed_cost_usd: row.failed,
            estimated_cost_usd: row.estimated_cost,
        };
        (Place { figure: row.place, name: row.name }, cost)
    };
    Ok(rows.into_iter().map(shown).collect())
}
