//! Where all budgets of a company stand, at a glance.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use tenantry_core::calendar::Tz;
use utoipa::ToSchema;
use uuid::Uuid;

use super::model::{Budget, Scope};
use super::period::{Period, Span};
use crate::Usd;
use crate::money::percent;

/// The budgets of a company in their present periods, whatever the question is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BudgetStandings {
    /// How many there are.
    pub total: i64,
    /// How many of them are spent.
    pub exhausted: i64,
    /// The twenty of which the largest part is spent, in order.
    pub nearest: Vec<BudgetStanding>,
}

/// Where a budget stands in its present period, in short; its status tells more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BudgetStanding {
    /// The budget.
    pub budget_id: Uuid,
    /// What people call it.
    #[schema(example = "Research, monthly")]
    pub name: String,
    /// Whose spending it counts.
    pub scope: Scope,
    /// The agent or the key; null for the company.
    #[schema(required)]
    pub scope_id: Option<Uuid>,
    /// How long the limit is for.
    pub period: Period,
    /// The first day of the present period, of the company's clock.
    pub period_start: NaiveDate,
    /// When the next one begins.
    pub resets_at: DateTime<Utc>,
    /// The limit.
    pub limit_usd: Usd,
    /// What recorded calls of the period cost.
    pub spent_usd: Usd,
    /// Of the limit, in percent.
    #[schema(example = 62.5)]
    pub percent: f64,
    /// Whether calls are refused when it is spent. Otherwise it only warns.
    pub hard: bool,
    /// Whether it is hard and spent, so that calls are refused now.
    pub stops: bool,
}

/// A budget and what is spent of it in its present period.
#[derive(Debug)]
pub(crate) struct SpentOf {
    pub(crate) budget: Budget,
    pub(crate) spent: Usd,
}

impl BudgetStanding {
    pub(crate) fn new(SpentOf { budget, spent }: SpentOf, now: DateTime<Utc>, zone: Tz) -> Self {
        let Span { start, instants, .. } = Span::at(budget.period, now, zone);
        Self {
            budget_id: budget.id,
            name: budget.name,
            scope: budget.scope,
            scope_id: budget.scope_id,
            period: budget.period,
            period_start: start,
            resets_at: instants.end,
            limit_usd: budget.limit_usd,
            spent_usd: spent,
            // a limit is more than zero
            percent: percent(spent.0, budget.limit_usd.0).unwrap_or_default(),
            hard: budget.hard,
            stops: budget.hard && spent >= budget.limit_usd,
        }
    }
}
