//! Whose day it is.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use metering::Attribution;
use metering::budgets::BudgetSettings;
use serde_json::json;
use tenantry_core::ManualClock;

use crate::{Scene, call_of, eventually, exhausted, usd};

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A scene in a zone, at a time.
async fn scene(zone: &str, at: &str) -> (Scene, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(utc(at)));
    let mut scene = Scene::at(Arc::clone(&clock) as _).await;
    let sql = format!("UPDATE public.tenants SET time_zone = '{zone}' WHERE slug = 'acme'");
    scene.world.admin().await.batch_execute(&sql).await.unwrap();
    eventually(async || scene.world.context("acme").await.tenant().time_zone.name() == zone).await;
    scene.context = scene.world.context("acme").await;
    (scene, clock)
}

/// The day on which the clocks are put back has 25 hours, and the limit is for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_the_tenants() {
    let (scene, clock) = scene("Europe/Berlin", "2026-10-24T22:30:00Z").await;
    scene.budget(json!({ "period": "day", "limit_usd": "1" })).await;
    let server = scene.server(&BudgetSettings::default());
    let anyone = Attribution::default();
    let admits = async |amount: &str| server.admit(&scene.context, &anyone, Some(usd(amount))).await;
    let hold = admits("0.9").await.unwrap();
    let first = scene.call("0.9");
    assert_eq!(first.day.to_string(), "2026-10-25");
    hold.settle(&first);
    scene.ship(&server, std::slice::from_ref(&first)).await;
    clock.advance(TimeDelta::hours(24));
    assert_eq!(scene.clock.now(), utc("2026-10-25T22:30:00Z"));
    assert!(exhausted(&admits("0.2").await), "half past eleven in the night of the same day");
    let refused = admits("0.2").await.unwrap_err();
    let metering::budgets::NotAdmitted::Exhausted { resets_at, period, used_usd, limit_usd, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!((resets_at, period), (utc("2026-10-25T23:00:00Z"), "day"));
    assert_eq!((used_usd, limit_usd), (usd("0.9"), usd("1")));
    // A call that is held before midnight counts for the day that it is recorded with, and so does a late one.
    let late = admits("0.1").await.unwrap();
    clock.advance(TimeDelta::minutes(31));
    let next = scene.call("0.1");
    assert_eq!(next.day.to_string(), "2026-10-26");
    late.settle(&next);
    let before = call_of(&scene.context, &anyone, "0.4", utc("2026-10-25T22:59:00Z"));
    scene.ship(&server, &[next, before]).await;
    let hold = admits("0.9").await.unwrap();
    assert!(exhausted(&admits("0.01").await), "what was held before midnight is spent today");
    drop(hold);
    let days = scene.world.admin().await;
    let rows = days
        .query(
            "SELECT day::text, cost_usd::text FROM analytics.spend_counters WHERE scope = 'tenant' ORDER BY day",
            &[],
        )
        .await;
    let rows: Vec<(String, String)> = rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let text = |day: &str, cost: &str| (day.to_owned(), cost.to_owned());
    assert_eq!(rows, [text("2026-10-25", "1.300000000000"), text("2026-10-26", "0.100000000000")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_begin_on_monday_and_months_on_the_first() {
    let (scene, clock) = scene("Asia/Kolkata", "2026-11-29T18:00:00Z").await;
    scene.budget(json!({ "period": "week", "limit_usd": "1" })).await;
    scene.budget(json!({ "period": "month", "limit_usd": "1.5" })).await;
    let server = scene.server(&BudgetSettings::default());
    let anyone = Attribution::default();
    let spend = async |amount: &str| {
        let hold = server.admit(&scene.context, &anyone, Some(usd(amount))).await?;
        let call = scene.call(amount);
        hold.settle(&call);
        scene.ship(&server, &[call]).await;
        Ok::<_, metering::budgets::NotAdmitted>(())
    };
    spend("1").await.unwrap();
    assert!(spend("0.1").await.is_err(), "half past eleven on Sunday evening there");
    clock.advance(TimeDelta::minutes(30));
    spend("0.4").await.unwrap();
    assert!(spend("0.2").await.is_err(), "the month goes on until tomorrow");
    clock.advance(TimeDelta::hours(24));
    spend("0.6").await.unwrap();
    assert!(spend("0.1").await.is_err(), "the week goes on");
}
