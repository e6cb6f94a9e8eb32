use chrono::{TimeDelta, Utc};
use metering::Decimal;
use metering::reports::{
    CostBy, CostOrder, CostQuery, MarginQuery, Period, Place, ReportSettings, burn, costs, health, margins, providers,
    unpriced,
};
use metering::statements::Month;
use tenantry_core::calendar::Tz;
use uuid::Uuid;

use crate::ledger::{Ledger, Row, months_ago, within};

async fn filled() -> (Ledger, Month) {
    let ledger = Ledger::start().await;
    let month = months_ago(1);
    for (slug, costs) in [("acme", ["3", "4.5"]), ("globex", ["7.5", ""]), ("hooli", ["", "0.000000000001"])] {
        let tenant = ledger.tenant(slug, Tz::UTC).await;
        for (hours, cost) in [10, 50].into_iter().zip(costs) {
            let model = if cost.is_empty() { "gpt-new" } else { "gpt-5" };
            ledger.book(&tenant.party, &Row::call(within(month, Tz::UTC, hours), model, cost)).await;
        }
    }
    ledger.roll_up().await;
    (ledger, month)
}

#[tokio::test]
async fn costs_come_in_the_order_asked_for_and_in_pages() {
    let (ledger, month) = filled().await;
    let tx = ledger.db.snapshot().await.unwrap();
    let query = |by, sort| CostQuery { period: Period::month(month), by, tenant: None, provider: None, sort };
    let names = async |by, sort, after: Option<&Place>| {
        let rows = costs(&tx, &query(by, sort), after, 10).await.unwrap();
        rows.into_iter()
            .map(|(place, cost)| (place, cost.name, cost.cost_usd.normalize().to_string()))
            .collect::<Vec<_>>()
    };
    let all = names(CostBy::Tenant, CostOrder::Cost, None).await;
    let shown: Vec<_> = all.iter().map(|(_, name, cost)| (name.as_str(), cost.as_str())).collect();
    // of equals the name decides
    assert_eq!(shown, [("acme", "7.5"), ("globex", "7.5"), ("hooli", "0.000000000001")]);
    for (at, (place, _, _)) in all.iter().enumerate() {
        assert_eq!(names(CostBy::Tenant, CostOrder::Cost, Some(place)).await, all[at + 1..]);
    }
    let by_name =
        names(CostBy::Tenant, CostOrder::Name, Some(&Place { figure: Decimal::ZERO, name: "acme".into() })).await;
    assert_eq!(by_name.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>(), ["globex", "hooli"]);
    let unpriced_first = names(CostBy::Model, CostOrder::Unpriced, None).await;
    assert_eq!((unpriced_first[0].1.as_str(), unpriced_first[1].1.as_str()), ("openai/gpt-new", "openai/gpt-5"));
    let all = costs(&tx, &query(CostBy::Provider, CostOrder::Cost), None, 10).await.unwrap().remove(0).1;
    assert_eq!((all.tenants, all.calls, all.priced_calls, all.unpriced_calls), (3, 6, 4, 2));
    let one = CostQuery { tenant: Some("globex".into()), ..query(CostBy::Plan, CostOrder::Cost) };
    let one = costs(&tx, &one, None, 10).await.unwrap().remove(0).1;
    assert_eq!((one.name.as_str(), one.calls), ("enterprise", 2));
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn margins_know_what_has_no_price() {
    let (ledger, month) = filled().await;
    let idle = ledger.tenant("idle", Tz::UTC).await;
    ledger
        .admin
        .execute("UPDATE public.tenants SET plan_tier = 'free' WHERE id = $1", &[&idle.party.id])
        .await
        .unwrap();
    let mut settings = ReportSettings::default();
    settings.plan_prices.insert("enterprise".into(), Decimal::from(10));
    let tx = ledger.db.snapshot().await.unwrap();
    let by_plan = margins(&tx, &settings, MarginQuery { month, by_tenant: false }, None, 10).await.unwrap();
    let shown: Vec<_> = by_plan
        .iter()
        .map(|(_, row)| {
            (row.name.as_str(), row.tenants, row.revenue_usd, row.margin_percent.map(|percent| percent.to_string()))
        })
        .collect();
    assert_eq!(shown, [("free", 1, None, None), ("enterprise", 3, Some(Decimal::from(30)), Some("50".into()))]);
    assert_eq!(by_plan[1].1.margin_usd.unwrap().to_string(), "14.999999999999");
    let by_tenant = margins(&tx, &settings, MarginQuery { month, by_tenant: true }, None, 10).await.unwrap();
    let names: Vec<_> = by_tenant.iter().map(|(_, row)| row.name.as_str()).collect();
    assert_eq!(names, ["idle", "acme", "globex", "hooli"], "the least margin first");
    let rest =
        margins(&tx, &settings, MarginQuery { month, by_tenant: true }, Some(&by_tenant[1].0), 10).await.unwrap();
    assert_eq!(rest, by_tenant[2..]);
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn models_without_a_price_are_listed_until_they_have_one() {
    let (ledger, month) = filled().await;
    let since = month.period(Tz::UTC).0 - TimeDelta::days(1);
    let listed = async || {
        let tx = ledger.db.snapshot().await.unwrap();
        let rows = unpriced(&tx, since, None, 10).await.unwrap();
        tx.rollback().await.unwrap();
        rows
    };
    let models = listed().await;
    let [(place, model)] = models.as_slice() else { panic!("{models:?}") };
    assert_eq!((model.model.as_str(), model.calls, model.tenants), ("gpt-new", 2, 2));
    assert_eq!(model.examples, ["globex", "hooli"]);
    assert_eq!(model.first_seen, within(month, Tz::UTC, 10) - TimeDelta::minutes(7));
    assert!(model.hint.contains("gpt-new") && place.figure == Decimal::from(2), "{}", model.hint);
    for slug in ["globex", "hooli"] {
        let tx = ledger.db.begin().await.unwrap();
        let tenant = metering::store::statements::tenants(&tx, None, Some(slug), 1).await.unwrap().remove(0);
        tx.rollback().await.unwrap();
        let adjustment = Row::adjustment(within(month, Tz::UTC, 60), "gpt-new", "0.1", true);
        ledger.book(&tenant.party, &adjustment).await;
    }
    ledger.roll_up().await;
    assert_eq!(listed().await.len(), 0, "their calls were priced");
}

#[tokio::test]
async fn what_happens_now_is_read_from_the_calls() {
    let ledger = Ledger::start().await;
    let (acme, globex) = (ledger.tenant("acme", Tz::UTC).await, ledger.tenant("globex", Tz::UTC).await);
    let now = Utc::now();
    let agent = Uuid::new_v4();
    let ago = |minutes| now - TimeDelta::minutes(minutes);
    for (tenant, minutes, cost, status, agent) in [
        (&acme, 2, "1", 200_i16, Some(agent)),
        (&acme, 3, "0.5", 200, None),
        (&globex, 30, "30", 200, None),
        (&globex, 31, "", 429, None),
        (&globex, 32, "0", 500, None),
        (&globex, 33, "0", 401, None),
        (&globex, 90, "100", 200, None),
    ] {
        let row = Row { status_code: Some(status), agent, ..Row::call(ago(minutes), "gpt-5", cost) };
        ledger.book(&tenant.party, &row).await;
    }
    let unsettled = Row { usage_source: "unsettled", ..Row::call(ago(34), "gpt-5", "2") };
    ledger.book(&globex.party, &unsettled).await;
    let tx = ledger.db.snapshot().await.unwrap();
    let five = burn(&tx, now, false, false, 10).await.unwrap();
    assert_eq!((five[0].slug.as_deref(), five[0].per_minute_5_usd.to_string()), (Some("acme"), "0.3".to_owned()));
    let hour = burn(&tx, now, false, true, 1).await.unwrap();
    assert_eq!(hour.len(), 1);
    assert_eq!(
        (hour[0].slug.as_deref(), hour[0].calls_60_minutes),
        (Some("globex"), 5),
        "a call of an hour before is not of now"
    );
    assert_eq!(
        (hour[0].unpriced_calls_60_minutes, hour[0].cost_60_minutes_usd.normalize().to_string()),
        (1, "32".to_owned())
    );
    let agents = burn(&tx, now, true, false, 10).await.unwrap();
    assert_eq!((agents[0].agent_id, agents[1].agent_id), (Some(agent), None));

    let (_, openai) = providers(&tx, now, 1, None, 10).await.unwrap().remove(0);
    assert_eq!((openai.calls, openai.successful_calls, openai.tenants), (7, 4, 2));
    assert_eq!((openai.rate_limited, openai.client_errors, openai.server_errors, openai.unsettled), (1, 1, 1, 1));
    assert_eq!((openai.latency_p50_ms, openai.success_rate), (Some(100), 0.5714));

    let before = health(&tx, now).await.unwrap();
    assert!(before.rollup.dirty_hours > 0 && before.last_24_hours.calls == 0, "{before:?}");
    assert!(before.partitions_ahead >= 3 && before.ingest.calls == 6, "{before:?}");
    tx.rollback().await.unwrap();
    ledger.roll_up().await;
    let tx = ledger.db.snapshot().await.unwrap();
    let after = health(&tx, now).await.unwrap();
    assert_eq!((after.rollup.dirty_hours, after.rollup.lag_seconds), (0, 0));
    assert_eq!(
        (after.last_24_hours.calls, after.last_24_hours.unpriced_calls, after.last_24_hours.unsettled_calls),
        (8, 1, 1)
    );
    tx.rollback().await.unwrap();
}
