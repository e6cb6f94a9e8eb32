use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use tenantry_core::calendar::midnight;
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;
use workforce::Error;

use super::cost_summary::names;
use super::frame::{Frame, frame};
use super::query::{bounded, question};
use crate::Metering;
use crate::insight::{Measures, Period};
use crate::store::analytics::sums::{self, Dimension, Group, Interval, Step};

/// Steps of all groups together that an answer can have.
const MOST_STEPS: i64 = 10_000;

question! {
    /// Which calls, in what steps, put together by what.
    UsageQuery {
        /// The steps of the series; `day` unless given.
        #[param(inline)]
        interval: Option<Interval>,
        /// What calls are put together by; all are one group unless given. By `task` is read from the calls themselves and takes longer.
        #[param(inline)]
        group_by: Option<Dimension>,
        /// The dearest groups that are told one by one, 1 to 50; 10 unless given. All others are one more group.
        #[param(minimum = 1, maximum = 50)]
        limit: Option<i64>,
    }
}

/// Sums in steps of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageSeries {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// The steps.
    pub interval: Interval,
    /// What calls are put together by; null when all are one group.
    #[schema(required)]
    pub group_by: Option<Dimension>,
    /// All groups together.
    pub total: Measures,
    /// The groups, the dearest first; that of all others last.
    pub groups: Vec<UsageGroup>,
}

/// A group and its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageGroup {
    /// What it is; null for calls that have none, and for the group of all others.
    #[schema(required)]
    pub key: Option<String>,
    /// Whose model it is; null for what is no model.
    #[schema(required)]
    pub provider: Option<String>,
    /// What the agent is called; null for what is no agent.
    #[schema(required)]
    pub name: Option<String>,
    /// Whether it is that of all others.
    pub is_other: bool,
    /// Its sums.
    pub total: Measures,
    /// Its steps in the order of time; those without calls are left out.
    pub series: Vec<SeriesStep>,
}

/// A step of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesStep {
    /// The instant that it begins at.
    pub start: DateTime<Utc>,
    /// The day that it begins on. A week or a month can begin before the period; only days of the period are in its sums.
    pub date: NaiveDate,
    /// Its sums.
    #[serde(flatten)]
    pub measures: Measures,
}

/// Tells calls, tokens and costs in steps of time, by group.
#[utoipa::path(
    get,
    path = "/v1/analytics/usage",
    operation_id = "get_usage_series",
    tag = "analytics",
    params(UsageQuery),
    responses(Common, (status = 200, description = "sums in steps of time", body = UsageSeries)),
)]
pub(super) async fn get_usage_series(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<UsageQuery>,
) -> Result<Json<UsageSeries>, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let interval = query.interval.unwrap_or(Interval::Day);
    let limit = bounded("limit", query.limit, (1, 10, 50))?;
    let groups = if query.group_by.is_some() { limit + 1 } else { 1 };
    if steps(&scope.period, interval) * groups > MOST_STEPS {
        let detail = format!(
            "too many steps: at most {MOST_STEPS} of all groups together; ask for a longer interval, a shorter period or a lower `limit`"
        );
        return Err(Error::InvalidQuery { parameter: "interval", detail }.into());
    }
    let mut tx = db.snapshot(&context).await?;
    let steps = sums::series(&mut tx, &scope, query.group_by, interval, limit).await?;
    let total: Measures = steps.iter().map(|step| step.measures).sum();
    let frame = frame(&mut tx, &scope, &total).await?;
    let mut groups = grouped(steps, limit, &scope.period);
    if query.group_by == Some(Dimension::Agent) {
        let keys = groups.iter().map(|group| Group { key: group.key.clone(), provider: None, measures: group.total });
        let names = names(&mut tx, &keys.collect::<Vec<_>>()).await?;
        for group in &mut groups {
            group.name = group.key.as_ref().and_then(|key| names.get(key)).cloned();
        }
    }
    tx.commit().await?;
    Ok(Json(UsageSeries { frame, interval, group_by: query.group_by, total, groups }))
}

/// The most steps that a period has.
fn steps(period: &Period, interval: Interval) -> i64 {
    match interval {
        // on the day on which the clocks are put back an hour comes twice
        Interval::Hour => period.days() * 24 + 1,
        Interval::Day => period.days(),
        Interval::Week => period.days() / 7 + 2,
        Interval::Month => period.days() / 28 + 2,
    }
}

fn grouped(steps: Vec<Step>, limit: i64, period: &Period) -> Vec<UsageGroup> {
    let mut groups: BTreeMap<i64, UsageGroup> = BTreeMap::new();
    for step in steps {
        let group = groups.entry(step.place).or_insert_with(|| UsageGroup {
            key: step.key,
            provider: step.provider,
            name: None,
            is_other: step.place > limit,
            total: Measures::default(),
            series: Vec::new(),
        });
        group.total += step.measures;
        let start = step.hour.unwrap_or_else(|| midnight(step.date, period.zone()));
        group.series.push(SeriesStep { start, date: step.date, measures: step.measures });
    }
    groups.into_values().collect()
}
