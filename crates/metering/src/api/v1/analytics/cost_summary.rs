use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::{DbError, TenantDb, TenantTx};
use utoipa::ToSchema;
use uuid::Uuid;
use workforce::PERMISSIONS;

use super::frame::{Frame, frame};
use super::query::question;
use crate::Metering;
use crate::Usd;
use crate::budgets::BudgetStandings;
use crate::insight::{HISTORY_DAYS, History, Measures, Outlook, Period, PeriodInfo, before, forecast};
use crate::money::percent;
use crate::store::analytics::sums::{self, Group};
use crate::store::analytics::{self, Scope};
use crate::store::budgets;

/// Groups of each kind that are named; the others are together.
const NAMED: usize = 10;

question! {
    /// Which calls are summed up.
    CostSummaryQuery {}
}

/// What was spent in a period, on what, and what it is going to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CostSummary {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// What is known to have been spent, adjustments included.
    pub spent_usd: Usd,
    /// All sums of the period.
    pub total: Measures,
    /// What the period is going to cost, while it lasts.
    #[serde(flatten)]
    pub outlook: Outlook,
    /// By provider.
    pub by_provider: TopGroups,
    /// By model.
    pub by_model: TopGroups,
    /// By agent.
    pub by_agent: TopGroups,
    /// The period before, and what has changed.
    pub previous: PreviousPeriod,
    /// Where the company's budgets stand now, whichever calls are asked about; null for who may not read budgets.
    #[schema(required)]
    pub budgets: Option<BudgetStandings>,
}

/// The dearest ten, and all others together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopGroups {
    /// The dearest, in order.
    pub top: Vec<NamedGroup>,
    /// All others together; null when there are none.
    #[schema(required)]
    pub other: Option<Measures>,
}

/// A group and its sums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedGroup {
    /// What it is: a provider, a model, the id of an agent or a key, …; null for calls that have none.
    #[schema(required)]
    pub key: Option<String>,
    /// Whose model it is; null for what is no model.
    #[schema(required)]
    pub provider: Option<String>,
    /// What the agent is called; null for what is no agent, or an agent that was never there.
    #[schema(required)]
    pub name: Option<String>,
    /// Of the cost of all, in percent; null when nothing was spent.
    #[schema(required)]
    pub percent: Option<f64>,
    /// Its sums.
    #[serde(flatten)]
    pub measures: Measures,
}

/// The period before, compared at the same point: while this period lasts, with as many of its days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreviousPeriod {
    /// The period before: as many calendar months where this one is made of whole ones, as many days otherwise.
    pub period: PeriodInfo,
    /// The days of it that are compared with.
    pub compared_days: i64,
    /// What was spent in these days.
    pub spent_usd: Usd,
    /// What was spent in all of it.
    pub whole_usd: Usd,
    /// This period's cost less that of the days compared with.
    pub change_usd: Usd,
    /// In percent of the latter; null when nothing was spent then.
    #[schema(required)]
    pub change_percent: Option<f64>,
}

/// Sums up what was spent: in all, by provider, model and agent, with a forecast, the period before, and where the budgets stand now, for
/// those who have `budgets:read`.
#[utoipa::path(
    get,
    path = "/v1/analytics/cost-summary",
    operation_id = "get_cost_summary",
    tag = "analytics",
    params(CostSummaryQuery),
    responses(Common, (status = 200, description = "what was spent", body = CostSummary)),
)]
pub(super) async fn get_cost_summary(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<CostSummaryQuery>,
) -> Result<Json<CostSummary>, Problem> {
    let (scope, today) = query.scope(&context, &metering)?;
    let mut tx = db.snapshot(&context).await?;
    let overview = sums::overview(&mut tx, &scope, i64::try_from(NAMED).unwrap_or(i64::MAX)).await?;
    let period = scope.period;
    // what is to come is foreseen from days before today, whatever the period
    let history = if period.contains(today) { before(today, HISTORY_DAYS) } else { period.from() };
    let costs = daily(&mut tx, &scope, (period.previous().from().min(history), period.to())).await?;
    let frame = frame(&mut tx, &scope, &overview.total).await?;
    let names = names(&mut tx, &overview.agents).await?;
    let reads_budgets = PERMISSIONS
        .of(&Method::GET, "/v1/budgets")
        .is_some_and(|permission| PERMISSIONS.allow(context.principal(), permission));
    let budgets = if reads_budgets { Some(budgets::standings(&mut tx, metering.clock.now()).await?) } else { None };
    tx.commit().await?;
    let total = overview.total;
    let top = |groups: Vec<Group>| TopGroups::new(groups, &total, &names);
    let spent_today = if period.contains(today) { costs.get(&today).copied().unwrap_or_default() } else { Usd::ZERO };
    let history = History::until(today, &costs);
    let outlook = forecast(&history, today, (period.from(), period.to()), total.cost_usd, spent_today).into();
    Ok(Json(CostSummary {
        frame,
        spent_usd: total.cost_usd,
        total,
        outlook,
        by_provider: top(overview.providers),
        by_model: top(overview.models),
        by_agent: top(overview.agents),
        previous: PreviousPeriod::new(&period, today, total.cost_usd, &costs),
        budgets,
    }))
}

/// What each of these days cost, of the scope's calls.
pub(super) async fn daily(
    tx: &mut TenantTx,
    scope: &Scope,
    (from, to): (chrono::NaiveDate, chrono::NaiveDate),
) -> Result<BTreeMap<chrono::NaiveDate, Usd>, DbError> {
    let days = Period::between(from, to, scope.period.zone());
    Ok(sums::days(tx, &scope.in_period(days)).await?.into_iter().collect())
}

/// What the agents among groups are called.
pub(super) async fn names(tx: &mut TenantTx, groups: &[Group]) -> Result<BTreeMap<String, String>, DbError> {
    let ids: Vec<Uuid> = groups.iter().filter_map(|group| group.key.as_deref()?.parse().ok()).collect();
    let names = analytics::agent_names(tx, &ids).await?;
    Ok(names.into_iter().map(|(id, name)| (id.to_string(), name)).collect())
}

impl TopGroups {
    fn new(groups: Vec<Group>, total: &Measures, names: &BTreeMap<String, String>) -> Self {
        let named: Measures = groups.iter().map(|group| group.measures).sum();
        let full = groups.len() >= NAMED;
        let top = groups.into_iter().map(|group| NamedGroup::new(group, total.cost_usd, names)).collect();
        let other = total.less(&named);
        Self { top, other: (full && other != Measures::default()).then_some(other) }
    }
}

impl NamedGroup {
    /// `of` is what everything cost.
    pub(super) fn new(group: Group, of: Usd, names: &BTreeMap<String, String>) -> Self {
        let name = group.key.as_ref().and_then(|key| names.get(key)).cloned();
        let percent = percent(group.measures.cost_usd.0, of.0);
        Self { key: group.key, provider: group.provider, name, percent, measures: group.measures }
    }
}

impl PreviousPeriod {
    fn new(period: &Period, today: chrono::NaiveDate, spent: Usd, costs: &BTreeMap<chrono::NaiveDate, Usd>) -> Self {
        let previous = period.previous();
        let within = |period: &Period| costs.range(period.from()..=period.to()).map(|(_, cost)| *cost).sum::<Usd>();
        let compared = if period.contains(today) { previous.first_days(period.begun(today)) } else { previous };
        let before = within(&compared);
        let change = spent - before;
        Self {
            period: previous.told(),
            compared_days: compared.days(),
            spent_usd: before,
            whole_usd: within(&previous),
            change_usd: change,
            change_percent: percent(change.0, before.0),
        }
    }
}
