use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;
use workforce::Error;

use super::cost_summary::daily;
use super::frame::{Frame, frame};
use super::query::{kept, question};
use crate::Metering;
use crate::Usd;
use crate::insight::{Anomaly, HISTORY_DAYS, History, Outlook, Period, anomalies, before, forecast};
use crate::store::analytics::sums;

question! {
    /// Which calls.
    TrendsQuery {}
}

/// Costs by day, where they lead, and days that stand out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trends {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// Each day of the period that has begun.
    pub days: Vec<TrendDay>,
    /// Days of the period that stand out from the eight weeks before them.
    pub anomalies: Vec<Anomaly>,
    /// What this calendar month is going to cost, whatever the period is.
    #[serde(flatten)]
    pub outlook: Outlook,
}

/// A day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"date": "2026-11-12", "cost_usd": "1.25", "cumulative_usd": "14.1"}))]
pub struct TrendDay {
    /// Which.
    pub date: NaiveDate,
    /// What it cost; of today, until now.
    pub cost_usd: Usd,
    /// What the period cost up to its end.
    pub cumulative_usd: Usd,
}

/// Tells what each day cost, which days stand out, and what the month is going to cost.
#[utoipa::path(
    get,
    path = "/v1/analytics/trends",
    operation_id = "get_trends",
    tag = "analytics",
    params(TrendsQuery),
    responses(Common, (status = 200, description = "costs by day and where they lead", body = Trends)),
)]
pub(super) async fn get_trends(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<TrendsQuery>,
) -> Result<Json<Trends>, Problem> {
    let (scope, today) = query.scope_of_any_day(&context, &metering)?;
    let period = scope.period;
    // The sums of days outlive those of hours, and know providers and agents.
    let of_hours = query.scope(&context, &metering);
    let of_days = of_hours.is_err() && !scope.is_beyond_providers_and_agents();
    if of_days {
        let kept = kept(&period, today, metering.settings.keep_days_days);
        kept.map_err(|detail| Error::InvalidQuery { parameter: "from", detail: format!("the period {detail}") })?;
    } else {
        of_hours?;
    }
    let month = Period::month_of(today, period.zone());
    let mut tx = db.snapshot(&context).await?;
    let total =
        if of_days { sums::total_of_days(&mut tx, &scope).await? } else { sums::total(&mut tx, &scope).await? };
    let earliest = before(period.from(), HISTORY_DAYS).min(before(today, HISTORY_DAYS)).min(month.from());
    let costs = daily(&mut tx, &scope, (earliest, period.to().max(today))).await?;
    let mut frame = frame(&mut tx, &scope, &total).await?;
    tx.commit().await?;
    if of_days {
        // Of how many the cost is final is in the sums of hours alone.
        frame.coverage.percent_final = None;
    }
    let mut cumulative = Usd::ZERO;
    let days = period.from().iter_days().take_while(|day| *day <= period.to().min(today)).map(|date| {
        let cost_usd = costs.get(&date).copied().unwrap_or_default();
        cumulative += cost_usd;
        TrendDay { date, cost_usd, cumulative_usd: cumulative }
    });
    let spent: Usd = costs.range(month.from()..=today).map(|(_, cost)| *cost).sum();
    let spent_today = costs.get(&today).copied().unwrap_or_default();
    Ok(Json(Trends {
        frame,
        days: days.collect(),
        anomalies: anomalies(&costs, (period.from(), period.to()), today),
        outlook: forecast(&History::until(today, &costs), today, (month.from(), month.to()), spent, spent_today).into(),
    }))
}
