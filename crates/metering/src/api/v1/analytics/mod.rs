//! Questions about the calls of a tenant, below `/v1/analytics`, and what they answer.

mod cost_summary;
mod explain;
mod export;
mod frame;
mod providers;
mod query;
mod roi;
mod savings;
mod task_types;
mod trends;
mod usage;
mod what_if;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;

pub use cost_summary::{CostSummary, NamedGroup, PreviousPeriod, TopGroups};
pub use explain::{Driver, Explanation, OtherPeriod};
pub use frame::Frame;
pub use providers::{FirstToken, ProviderComparison, ProviderFigures};
pub use roi::{RoiAnswer, RoiRequest};
pub use savings::{Savings, SavingsOf};
pub use task_types::{TaskType, TaskTypes};
pub use trends::{TrendDay, Trends};
pub use usage::{SeriesStep, UsageGroup, UsageSeries};
pub use what_if::WhatIf;

/// The endpoints of the analytics alone: they need a tenant context, calls and prices, and nothing else.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(cost_summary::get_cost_summary))
        .routes(routes!(explain::explain_costs))
        .merge(export::router())
        .routes(routes!(providers::compare_providers))
        .merge(roi::router())
        .routes(routes!(savings::get_savings))
        .routes(routes!(task_types::get_task_types))
        .routes(routes!(trends::get_trends))
        .routes(routes!(usage::get_usage_series))
        .routes(routes!(what_if::what_if))
}
