use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_core::TenantId;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;
use workforce::Error;

use super::cost_summary::names;
use super::frame::{Frame, frame};
use super::query::{kept, question};
use crate::Metering;
use crate::Usd;
use crate::insight::{Bridge, Coverage, GroupSums, Measures, Period, PeriodInfo, Rates, Side, bridge};
use crate::money::percent;
use crate::prices::{PriceQuery, Prices};
use crate::store::analytics::sums::{self, Group};
use crate::usage::Usage;

/// Drivers of each kind that are told.
const DRIVERS: usize = 10;
/// Groups that are told apart; all others are one.
const MOST_GROUPS: i64 = 10_000;

question! {
    /// Which calls, and which earlier period they are compared with.
    ExplainQuery {
        /// The first day of the earlier period. Without it and `base_to` it is the one before: as many calendar months where the later one is made
        /// of whole ones, as many days otherwise.
        base_from: Option<NaiveDate>,
        /// The last day of the earlier period.
        base_to: Option<NaiveDate>,
    }
}

/// Why costs changed from an earlier period to a later one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The later period, and how far its sums can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// What the later period cost.
    pub cost_usd: Usd,
    /// The earlier period.
    pub base: OtherPeriod,
    /// The change in percent of the earlier cost; null when that is zero.
    #[schema(required)]
    pub change_percent: Option<f64>,
    /// The change, cause by cause: the terms add up to it to the last digit.
    pub bridge: Bridge,
    /// Models of the earlier period without a known price: their cached input is in `price_usd`.
    pub models_without_rates: i64,
    /// The models whose costs changed most.
    pub models: Vec<Driver>,
    /// The agents whose costs changed most.
    pub agents: Vec<Driver>,
}

/// The period that is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OtherPeriod {
    /// Its days.
    pub period: PeriodInfo,
    /// What it cost.
    pub cost_usd: Usd,
    /// How far its sums can be trusted.
    pub coverage: Coverage,
}

/// Something whose cost changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"key": "gpt-5", "provider": "openai", "name": null, "base_usd": "3.1", "cost_usd": "7.4", "change_usd": "4.3"}))]
#[schema(as = CostDriver)]
pub struct Driver {
    /// A model, or the id of an agent; null for calls of none.
    #[schema(required)]
    pub key: Option<String>,
    /// Whose model it is; null for an agent.
    #[schema(required)]
    pub provider: Option<String>,
    /// What the agent is called.
    #[schema(required)]
    pub name: Option<String>,
    /// What it cost in the earlier period.
    pub base_usd: Usd,
    /// What it cost in the later one.
    pub cost_usd: Usd,
    /// The latter less the former.
    pub change_usd: Usd,
}

/// Explains why costs changed between two periods: volume, mix of models, tokens a call, cache, prices, waste and adjustments.
#[utoipa::path(
    get,
    path = "/v1/analytics/explain",
    operation_id = "explain_costs",
    tag = "analytics",
    params(ExplainQuery),
    responses(Common, (status = 200, description = "why costs changed", body = Explanation)),
)]
pub(super) async fn explain_costs(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<ExplainQuery>,
) -> Result<Json<Explanation>, Problem> {
    let (scope, today) = query.scope(&context, &metering)?;
    let base = if query.base_from.is_none() && query.base_to.is_none() {
        scope.period.previous()
    } else {
        Period::of(query.base_from, query.base_to, today, scope.period.zone()).map_err(|(parameter, detail)| {
            let parameter = if parameter == "from" { "base_from" } else { "base_to" };
            Error::InvalidQuery {
                parameter,
                detail: format!("`{parameter}` {}", detail.replace("`from`", "`base_from`")),
            }
        })?
    };
    kept(&base, today, metering.settings.keep_hours_days).map_err(|detail| Error::InvalidQuery {
        parameter: if query.base_from.is_some() { "base_from" } else { "from" },
        detail: format!("the period that is compared with {detail}"),
    })?;
    let base = scope.in_period(base);
    let mut tx = db.snapshot(&context).await?;
    let before = sums::overview(&mut tx, &base, MOST_GROUPS).await?;
    let after = sums::overview(&mut tx, &scope, MOST_GROUPS).await?;
    let (base_total, total) = (before.total, after.total);
    let (earlier, later) = (whole(before.models, &base_total), whole(after.models, &total));
    let frame = frame(&mut tx, &scope, &total).await?;
    let mut agents = drivers(before.agents, after.agents);
    let keys =
        agents.iter().map(|driver| Group { key: driver.key.clone(), provider: None, measures: Measures::default() });
    let names = names(&mut tx, &keys.collect::<Vec<_>>()).await?;
    tx.commit().await?;
    for agent in &mut agents {
        agent.name = agent.key.as_ref().and_then(|key| names.get(key)).cloned();
    }
    // the prices of the earlier period as they were when it ended
    let at = base.period.ends_at() - chrono::TimeDelta::seconds(1);
    let known = |provider: &str, model: &str| rates(&metering.prices, context.id(), provider, model, at);
    let (before, after) = (side(&earlier), side(&later));
    let without = before.groups.keys().filter(|(provider, model)| known(provider, model).is_none()).count();
    let bridge = bridge(&before, &after, known);
    Ok(Json(Explanation {
        frame,
        cost_usd: total.cost_usd,
        base: OtherPeriod {
            period: base.period.told(),
            cost_usd: base_total.cost_usd,
            coverage: base_total.coverage(),
        },
        change_percent: percent(bridge.change_usd.0, base_total.cost_usd.0),
        bridge,
        models_without_rates: i64::try_from(without).unwrap_or(i64::MAX),
        models: drivers(earlier, later),
        agents,
    }))
}

/// Groups that are everything: those past the limit are one without a name.
fn whole(mut groups: Vec<Group>, total: &Measures) -> Vec<Group> {
    let named: Measures = groups.iter().map(|group| group.measures).sum();
    let rest = total.less(&named);
    if rest != Measures::default() {
        groups.push(Group { key: None, provider: None, measures: rest });
    }
    groups
}

fn side(groups: &[Group]) -> Side {
    let mut side = Side::default();
    for Group { key, provider, measures } in groups {
        let model = (provider.clone().unwrap_or_default(), key.clone().unwrap_or_default());
        side.waste_usd += measures.failed_cost_usd;
        side.adjustments_usd += measures.adjustments_usd;
        side.groups.insert(
            model,
            GroupSums {
                calls: measures.calls - measures.failed_calls,
                cost_usd: measures.cost_usd - measures.failed_cost_usd - measures.adjustments_usd,
                tokens: measures.tokens,
            },
        );
    }
    side
}

/// What a token of each kind costs in a small call: an amount for a thousand, divided, which loses no digit.
fn rates(
    prices: &Prices,
    tenant: TenantId,
    provider: &str,
    model: &str,
    at: chrono::DateTime<chrono::Utc>,
) -> Option<Rates> {
    const SAMPLE: u64 = 1000;
    let query = PriceQuery { tenant, account: None, provider, model, service_tier: None, at };
    let of = |usage: Usage| prices.cost(&query, &usage).cost_usd.map(|cost| cost / Decimal::from(SAMPLE));
    Some(Rates {
        input: of(Usage { input: SAMPLE, ..Usage::default() })?,
        cache_read: of(Usage { cache_read: SAMPLE, ..Usage::default() })?,
        cache_write: of(Usage { cache_write: SAMPLE, ..Usage::default() })?,
        output: of(Usage { output: SAMPLE, ..Usage::default() })?,
        reasoning: of(Usage { reasoning: SAMPLE, ..Usage::default() })?,
    })
}

/// The groups whose costs changed most, the largest change first.
fn drivers(before: Vec<Group>, after: Vec<Group>) -> Vec<Driver> {
    let mut costs: BTreeMap<(Option<String>, Option<String>), (Usd, Usd)> = BTreeMap::new();
    for group in before {
        costs.entry((group.key, group.provider)).or_default().0 += group.measures.cost_usd;
    }
    for group in after {
        costs.entry((group.key, group.provider)).or_default().1 += group.measures.cost_usd;
    }
    let changed = costs.into_iter().filter(|(_, (before, after))| before != after);
    let mut drivers: Vec<Driver> = changed
        .map(|((key, provider), (base_usd, cost_usd))| Driver {
            key,
            provider,
            name: None,
            base_usd,
            cost_usd,
            change_usd: cost_usd - base_usd,
        })
        .collect();
    drivers.sort_by_key(|driver| std::cmp::Reverse(driver.change_usd.0.abs()));
    drivers.truncate(DRIVERS);
    drivers
}
