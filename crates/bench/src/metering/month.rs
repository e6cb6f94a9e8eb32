//! Ten million calls of a month: what a page takes, and what one more call in an old hour takes.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use chrono::{Datelike as _, NaiveDate, Utc};
use metering::rollup::{Rollup, RollupSettings};
use secrecy::ExposeSecret as _;
use tenantry::Settings;
use tenantry_postgres::MeterDb;

use crate::Options;
use crate::ground::{Ground, create, slug};
use crate::load::{Call, Load, Method};
use crate::report::{Report, Row};
use crate::serve::Ours;
use crate::stats::percentile;

const TENANTS: usize = 20;
/// Rows of a statement that makes some.
const CHUNK: u32 = 500_000;
const GOAL_PAGE_MS: f64 = 100.0;
const GOAL_HOUR_S: f64 = 2.0;
const HOURS: usize = 10;

pub(super) async fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut ground = Ground::start("month", None).await?;
    let mut key = None;
    for n in 0..TENANTS {
        let created = create(&ground.provisioner, &slug(n)).await?;
        key.get_or_insert(created.key.token);
    }
    let key = key.context("there is a tenant")?;
    let (first, days) = last_month();
    fill(&mut ground, options.calls, first, days).await?;
    let db = MeterDb::new(&ground.config, 4);
    let rollup = Rollup::new(db, RollupSettings::default());
    eprintln!("bench: metering, month, sums of {} calls", options.calls);
    let began = Instant::now();
    let tally = rollup.settle(None, |_| {}).await?;
    let seconds = began.elapsed().as_secs_f64();
    ground.admin().await?.batch_execute("VACUUM ANALYZE").await?;
    report.fact(
        "month",
        format!("{} calls of {TENANTS} tenants; sums of {} hours in {seconds:.0} s", options.calls, tally.hours),
    );

    let settings = Settings { metering: ground.metering(), ..Settings::default() };
    let ours = Ours::start(&ground, &settings).await?;
    let month = format!("from={first}&to={}", first.with_day(days).context("a day")?);
    for (name, path) in [
        ("month_page_p95", format!("/v1/analytics/cost-summary?{month}")),
        ("month_usage_p95", format!("/v1/analytics/usage?{month}&interval=day&group_by=model")),
    ] {
        let call = Call {
            method: Method::Get,
            path,
            key: Some(key.expose_secret().to_owned()),
            tenant: Some(slug(0)),
            body: None,
        };
        let load = || Load::alike(ours.address, 1, std::slice::from_ref(&call));
        load().lasting(options.seconds).run().await?;
        let answer = load().lasting(options.seconds * 2.0).run().await?;
        report.push(Row::lower(name, answer.p95_us / 1000.0, "ms").goal(GOAL_PAGE_MS));
    }
    ours.stop().await?;

    let mut took = Vec::new();
    let admin = ground.admin().await?;
    let largest = "SELECT tenant_id, hour, day, sum(total_calls)::int8 FROM analytics.hourly_metrics GROUP BY 1, 2, 3 ORDER BY 4 DESC, 2 LIMIT 1";
    let row = admin.query_one(largest, &[]).await?;
    let (tenant, hour, day): (uuid::Uuid, chrono::DateTime<Utc>, NaiveDate) = (row.get(0), row.get(1), row.get(2));
    report.fact("dirty hour", format!("{} calls", row.get::<_, i64>(3)));
    for _ in 0..HOURS {
        let mark = "INSERT INTO analytics.dirty_hours (tenant_id, hour, day) VALUES ($1, $2, $3)";
        admin.execute(mark, &[&tenant, &hour, &day]).await?;
        let began = Instant::now();
        let tally = rollup.settle(None, |_| {}).await?;
        took.push(began.elapsed().as_secs_f64());
        ensure!(tally.hours == 1, "one hour was summed");
    }
    report.push(Row::lower("dirty_hour_p95", percentile(&took, 0.95), "s").goal(GOAL_HOUR_S));
    drop(admin);
    ground.finish().await
}

/// The last whole month: its first day and how many it has.
fn last_month() -> (NaiveDate, u32) {
    let first = Utc::now().date_naive().with_day(1).unwrap_or_default();
    let last = first.pred_opt().unwrap_or_default();
    (last.with_day(1).unwrap_or_default(), last.day())
}

/// Makes the calls in the database, and marks their hours. Nothing is flushed meanwhile; afterwards everything is.
async fn fill(ground: &mut Ground, calls: u32, first: NaiveDate, days: u32) -> anyhow::Result<()> {
    ground.reopen(false).await?;
    let client = ground.admin().await?;
    client.batch_execute("SELECT setseed(0.5)").await?;
    let mut from = 1;
    while from <= calls {
        let to = calls.min(from + CHUNK - 1);
        let sql = include_str!("month.sql")
            .replace("{from}", &from.to_string())
            .replace("{to}", &to.to_string())
            .replace("{month}", &first.format("%Y-%m").to_string())
            .replace("{days}", &days.to_string());
        client.batch_execute(&sql).await?;
        eprintln!("bench: metering, month, {to} of {calls} calls");
        from = to + 1;
    }
    client
        .batch_execute(
            "INSERT INTO analytics.dirty_hours (tenant_id, hour, day) SELECT DISTINCT tenant_id, hour, day FROM analytics.provider_api_calls; \
             ANALYZE analytics.provider_api_calls",
        )
        .await?;
    drop(client);
    ground.reopen(true).await
}
