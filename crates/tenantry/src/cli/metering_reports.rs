//! Reports of `tenantry metering`.

use ::metering::reports::{self, CostQuery, Period};
use ::metering::statements::Month;
use ::metering::{Decimal, MeteringSettings};
use chrono::{NaiveDate, TimeDelta};
use clap::Args;
use serde::Serialize;
use tenantry_core::{Clock as _, SystemClock};
use tenantry_postgres::MeterDb;

use super::metering::{By, Sort};
use super::output::{self, optional, time};
use super::{CliError, Output, say};

/// Days of a report.
#[derive(Debug, Args)]
pub(super) struct Days {
    /// A whole month, such as `2026-10`
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["from", "to"])]
    month: Option<Month>,
    /// The first day; the first of the last day's month unless given
    #[arg(long, value_name = "DAY")]
    from: Option<NaiveDate>,
    /// The last day; today unless given
    #[arg(long, value_name = "DAY")]
    to: Option<NaiveDate>,
}

impl Days {
    pub(super) fn period(&self) -> Result<Period, CliError> {
        match self.month {
            Some(month) => Ok(Period::month(month)),
            None => Period::new(self.from, self.to, SystemClock.now()).map_err(CliError::usage),
        }
    }
}

/// Which costs.
#[derive(Debug, Args)]
pub(super) struct CostArgs {
    /// What costs are put together by
    #[arg(long, value_enum, default_value_t = By::Tenant)]
    by: By,
    #[command(flatten)]
    days: Days,
    /// Only of this tenant
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Only of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Cost)]
    sort: Sort,
    /// How many rows
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

/// An amount for people; programs get all its digits.
pub(super) fn usd(amount: Decimal) -> String {
    let mut shown = amount.round_dp(6);
    shown.rescale(6);
    shown.to_string()
}

/// The health with its alerts, for programs.
#[derive(Serialize)]
struct Health {
    #[serde(flatten)]
    health: reports::MeteringHealth,
    alerts: Vec<reports::Alert>,
}

pub(super) async fn health(db: &MeterDb, settings: &MeteringSettings, format: Output) -> Result<(), CliError> {
    let tx = db.snapshot().await?;
    let health = reports::health(&tx, SystemClock.now()).await?;
    tx.rollback().await?;
    let alerts = reports::alerts(&health, None, &settings.alerts);
    let (rollup, day, ingest) = (&health.rollup, &health.last_24_hours, &health.ingest);
    let seconds = |lag: Option<f64>| lag.map_or_else(|| "-".to_owned(), |lag| format!("{lag} s"));
    let mut lines = vec![
        ("calls, 24 hours", day.calls.to_string()),
        ("cost USD, 24 hours", usd(day.cost_usd)),
        ("without a price, 24 hours", day.unpriced_calls.to_string()),
        ("estimated, 24 hours", day.estimated_calls.to_string()),
        ("never seen to end, 24 hours", day.unsettled_calls.to_string()),
        ("gateway calls, an hour", ingest.calls.to_string()),
        ("last recorded", optional(ingest.last_recorded_at.map(time))),
        ("recorded after, half", seconds(ingest.lag_p50_seconds)),
        ("recorded after, 95 %", seconds(ingest.lag_p95_seconds)),
        ("hours to be summed", rollup.dirty_hours.to_string()),
        ("the oldest since", optional(rollup.oldest_dirty_at.map(time))),
        ("months ahead", health.partitions_ahead.to_string()),
        (
            "least captured of a bill",
            optional(
                health
                    .least_captured
                    .as_ref()
                    .map(|least| format!("{} of {} on {}", least.part.normalize(), least.provider, least.day)),
            ),
        ),
    ];
    lines.extend(alerts.iter().map(|alert| ("ALERT", format!("{}: {}", alert.name, alert.detail))));
    output::record(format, &Health { health: health.clone(), alerts }, &lines)
}

pub(super) async fn costs(db: &MeterDb, args: CostArgs, format: Output) -> Result<(), CliError> {
    let query = CostQuery {
        period: args.days.period()?,
        by: args.by.into(),
        tenant: args.tenant,
        provider: args.provider,
        sort: args.sort.into(),
    };
    let tx = db.snapshot().await?;
    let mut rows = reports::costs(&tx, &query, None, args.limit + 1).await?;
    tx.rollback().await?;
    if rows.len() > usize::try_from(args.limit).unwrap_or(usize::MAX) {
        rows.pop();
        say(format!("only the first {} are shown; `--limit` shows more", args.limit));
    }
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    let name = query.by.as_str();
    let columns =
        [name, "cost usd", "calls", "unpriced", "estimated", "unsettled", "failed usd", "tokens in", "tokens out"];
    output::list(format, &rows, &columns, |row| {
        vec![
            row.name.clone(),
            usd(row.cost_usd),
            row.calls.to_string(),
            row.unpriced_calls.to_string(),
            row.estimated_calls.to_string(),
            row.unsettled_calls.to_string(),
            usd(row.failed_cost_usd),
            row.tokens_input.to_string(),
            row.tokens_output.to_string(),
        ]
    })
}

pub(super) async fn unpriced(db: &MeterDb, days: i64, format: Output) -> Result<(), CliError> {
    /// More models than any price list has.
    const ALL: i64 = 100_000;
    let since = SystemClock.now() - TimeDelta::days(days);
    let tx = db.snapshot().await?;
    let rows = reports::unpriced(&tx, since, None, ALL).await?;
    tx.rollback().await?;
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    let columns = ["provider", "model", "calls", "first seen", "last seen", "tenants", "such as"];
    output::list(format, &rows, &columns, |row| {
        let model = if row.model.is_empty() { "-".to_owned() } else { row.model.clone() };
        vec![
            row.provider.clone(),
            model,
            row.calls.to_string(),
            time(row.first_seen),
            time(row.last_seen),
            row.tenants.to_string(),
            row.examples.join(", "),
        ]
    })?;
    for row in rows.iter().take(3) {
        say(format!("hint: {}", row.hint));
    }
    Ok(())
}
