//! A digit that is changed anywhere is found.

use chrono::{TimeDelta, Utc};
use uuid::Uuid;

use super::{Range, Report, Table, repair, verify};
use crate::call::{Attribution, Costed};
use crate::rollup::{Rollup, RollupSettings};
use crate::testing::{Bench, call};

async fn found(bench: &Bench) -> Report {
    verify(&bench.db, &Range::default(), Utc::now().date_naive(), |_, _| ()).await.unwrap()
}

async fn settled() -> Bench {
    let bench = Bench::start().await;
    let mut calls = Vec::new();
    for n in 0..40 {
        let tenant = if n % 4 == 0 { bench.globex } else { bench.acme };
        let mut one = call(tenant, Utc::now() - TimeDelta::hours(n * 2 + 1));
        one.attribution = Attribution {
            agent_id: (n % 3 == 0).then(|| Uuid::from_u128(1)),
            api_key_id: (n % 2 == 0).then(|| Uuid::from_u128(2)),
            ..Attribution::default()
        };
        if n % 5 == 0 {
            one.cost = Costed::unpriced();
        }
        calls.push(one);
    }
    bench.ship(&calls).await;
    let job = Rollup::new(bench.db.clone(), RollupSettings::default());
    job.settle(None, |_| ()).await.unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn one_amount_is_everywhere_and_a_changed_digit_is_found() {
    let bench = settled().await;
    let clean = found(&bench).await;
    assert_eq!((clean.differences.len(), clean.marked_hours, clean.tenants), (0, 0, 2), "{clean:?}");
    assert_eq!((clean.totals.calls, clean.totals.cost_usd.to_string()), (40, "0.032000000000".to_owned()));
    let admin = bench.world.admin().await;
    let digit = "0.000000000001";
    let one = "(SELECT ctid FROM analytics.spend_counters WHERE scope = 'SCOPE' LIMIT 1)";
    for (change, table, amounts) in [
        (format!("UPDATE analytics.provider_api_calls SET cost_usd = cost_usd + {digit} WHERE id = (SELECT id FROM analytics.provider_api_calls WHERE cost_usd > 0 LIMIT 1)"), Table::Hourly, "cost_usd"),
        ("UPDATE analytics.provider_api_calls SET tokens_output = tokens_output + 1 WHERE id = (SELECT min(id::text)::uuid FROM analytics.provider_api_calls)".into(), Table::Hourly, "tokens_output"),
        ("DELETE FROM analytics.provider_api_calls WHERE id = (SELECT min(id::text)::uuid FROM analytics.provider_api_calls)".into(), Table::Counters, "calls"),
        (format!("UPDATE analytics.hourly_metrics SET cost_usd = cost_usd - {digit} WHERE hour = (SELECT min(hour) FROM analytics.hourly_metrics)"), Table::Hourly, "cost_usd"),
        ("UPDATE analytics.hourly_metrics SET unpriced_calls = unpriced_calls + 1 WHERE hour = (SELECT max(hour) FROM analytics.hourly_metrics)".into(), Table::Daily, "unpriced_calls"),
        // from one model to another: the sum stays
        ("UPDATE analytics.hourly_metrics SET model = 'gpt-4o' WHERE hour = (SELECT min(hour) FROM analytics.hourly_metrics)".into(), Table::Hourly, "calls"),
        (format!("UPDATE analytics.daily_metrics SET total_cost_usd = total_cost_usd + {digit} WHERE id = (SELECT id FROM analytics.daily_metrics LIMIT 1)"), Table::Daily, "cost_usd"),
        ("UPDATE analytics.daily_metrics SET total_tokens_input = total_tokens_input + 1 WHERE id = (SELECT id FROM analytics.daily_metrics LIMIT 1)".into(), Table::Daily, "tokens_input"),
        ("DELETE FROM analytics.daily_metrics WHERE id = (SELECT id FROM analytics.daily_metrics WHERE total_calls > 0 LIMIT 1)".into(), Table::Daily, "calls"),
        (format!("UPDATE analytics.spend_counters SET cost_usd = cost_usd + {digit} WHERE ctid = {}", one.replace("SCOPE", "tenant")), Table::Counters, "cost_usd"),
        (format!("UPDATE analytics.spend_counters SET calls = calls + 1 WHERE ctid = {}", one.replace("SCOPE", "agent")), Table::Counters, "calls"),
        (format!("DELETE FROM analytics.spend_counters WHERE ctid = {}", one.replace("SCOPE", "key")), Table::Counters, "calls"),
    ] {
        admin.batch_execute(&change).await.unwrap();
        let report = found(&bench).await;
        assert!(report.differences.iter().any(|wrong| wrong.table == table && wrong.amount == amounts), "{change}: {:#?}", report.differences);
        // What is made of the calls is made anew; days after hours, so twice where an hour was wrong.
        repair(&bench.db, &report.differences).await.unwrap();
        let rest = found(&bench).await.differences;
        assert!(rest.is_empty(), "{change}: {rest:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_hours_are_left_out_and_counted() {
    let bench = settled().await;
    let late = call(bench.acme, Utc::now() - TimeDelta::hours(1));
    bench.ship(std::slice::from_ref(&late)).await;
    let report = found(&bench).await;
    assert_eq!((report.differences.len(), report.marked_hours), (0, 1), "{report:?}");
    // the mark is the only thing that explains it
    let admin = bench.world.admin().await;
    admin.batch_execute("DELETE FROM analytics.dirty_hours").await.unwrap();
    let report = found(&bench).await;
    let wrong: Vec<_> = report.differences.iter().map(|wrong| (wrong.table, wrong.amount)).collect();
    assert_eq!(wrong, ["cost_usd", "calls", "tokens_input", "tokens_output"].map(|amount| (Table::Hourly, amount)));
    assert_eq!((report.differences[1].tenant.as_str(), report.differences[1].hour), ("acme", Some(late.hour)));

    let one = Range { tenant: Some("globex".into()), ..Range::default() };
    let report = verify(&bench.db, &one, Utc::now().date_naive(), |_, _| ()).await.unwrap();
    assert_eq!((report.tenants, report.differences.len()), (1, 0));
}
