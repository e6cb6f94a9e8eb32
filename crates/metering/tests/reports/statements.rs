use chrono::Utc;
use metering::Decimal;
use metering::statements::{CloseError, LineKind, Month, StatementStatus, list, to_csv};
use metering::store::Reader;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tenantry_core::calendar::Tz;
use tenantry_postgres::Actor;

use crate::ledger::{Ledger, Row, months_ago, within};

const ZONE: Tz = Tz::Asia__Kolkata;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_closed_month_stays_and_what_comes_later_is_on_the_next() {
    let mut ledger = Ledger::start().await;
    ledger.settings.exchange_rates.insert("EUR".into(), decimal("0.9"));
    let acme = ledger.tenant("acme", ZONE).await;
    let (first, second) = (months_ago(3), months_ago(2));
    for (hours, model, cost) in [
        (1, "gpt-5", "0.333333333333"),
        (30, "gpt-5", "1.000000000001"),
        (40, "mini", "0.010000000000"),
        (41, "new", ""),
    ] {
        ledger.book(&acme.party, &Row::call(within(first, ZONE, hours), model, cost)).await;
    }
    // the last hour of the month in the tenant's zone, which is the first of the next one elsewhere
    ledger.book(&acme.party, &Row::call(within(second, ZONE, -1), "gpt-5", "2")).await;

    let refused = ledger.close(&acme, first).await.unwrap_err();
    assert!(matches!(refused, CloseError::NotSummed { hours: 5, .. }), "{refused}");
    ledger.roll_up().await;
    let now = within(first, ZONE, 100);
    let preview = ledger.statement(&acme, first, now).await.unwrap();
    assert_eq!((preview.summary.status, preview.summary.number), (StatementStatus::Open, None));
    assert!(ledger.statement(&acme, second, now).await.is_none(), "it has not begun");

    let closed = ledger.close(&acme, first).await.unwrap().remove(0);
    assert_eq!(closed.lines, preview.lines, "what was shown is what is closed");
    let summary = &closed.summary;
    assert_eq!((summary.number, summary.calls, summary.unpriced_calls), (Some(1), 5, 1));
    assert_eq!((summary.cost_usd, summary.amount_usd), (decimal("3.343333333334"), decimal("3.34")));
    assert_eq!((summary.display_amount, summary.time_zone.as_str()), (Some(decimal("3.01")), "Asia/Kolkata"));
    let shares: Vec<_> = closed.lines.iter().map(|line| (line.model.as_str(), line.amount_usd)).collect();
    assert_eq!(shares, [("gpt-5", decimal("3.33")), ("mini", decimal("0.01")), ("new", decimal("0.00"))]);
    assert_eq!(ledger.close(&acme, first).await.unwrap().len(), 0, "it is closed once");

    // a late call, the price of the unpriced one (booked now), and a call of the next month
    ledger.book(&acme.party, &Row::call(within(first, ZONE, 2), "gpt-5", "0.25")).await;
    ledger.book(&acme.party, &Row::adjustment(within(second, ZONE, 9), "new", "0.5", true)).await;
    ledger.book(&acme.party, &Row::call(within(second, ZONE, 8), "gpt-5", "7")).await;
    ledger.roll_up().await;
    let again = ledger.statement(&acme, first, Utc::now()).await.unwrap();
    assert_eq!((&again.summary.digest, again.intact), (&closed.summary.digest, true));
    assert_eq!((&again.lines, again.summary.cost_usd), (&closed.lines, closed.summary.cost_usd));

    let next = ledger.close(&acme, second).await.unwrap().remove(0);
    let lines: Vec<_> = next
        .lines
        .iter()
        .map(|line| (line.kind, line.for_month, line.model.as_str(), line.calls, line.unpriced_calls, line.cost_usd))
        .collect();
    assert_eq!(
        lines,
        [
            (LineKind::Usage, second, "gpt-5", 1, 0, decimal("7")),
            (LineKind::Late, first, "gpt-5", 1, 0, decimal("0.25")),
            (LineKind::Adjustment, second, "new", 0, -1, decimal("0.5")),
        ]
    );
    assert_eq!((next.summary.number, &next.summary.previous_digest), (Some(2), &closed.summary.digest));
    let csv = String::from_utf8(to_csv(&next).unwrap()).unwrap();
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.contains(&format!("{second},closed,2,2,late,{first},openai,gpt-5,1,")), "{csv}");
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_without_the_policy_it_would_not() {
    let ledger = Ledger::start().await;
    let month = months_ago(2);
    for slug in ["acme", "globex"] {
        let tenant = ledger.tenant(slug, Tz::UTC).await;
        ledger.book(&tenant.party, &Row::call(within(month, Tz::UTC, 1), slug, "1")).await;
        ledger.roll_up().await;
        assert_eq!(ledger.close(&tenant, month).await.unwrap().len(), 1);
    }
    let context = ledger.world.context("acme").await;
    let seen = async || {
        let mut tx = ledger.world.db.single(&context).await.unwrap();
        list(&mut Reader::Tenant(&mut tx), None, 10).await.unwrap().len()
    };
    assert_eq!(seen().await, 1);
    ledger.admin.batch_execute("ALTER TABLE analytics.statements DISABLE ROW LEVEL SECURITY").await.unwrap();
    assert_eq!(seen().await, 2, "the statement itself asks for no tenant");
}

/// What happens to a tenant's calls.
#[derive(Debug, Clone)]
enum Step {
    /// A call of one of three months, with its hour and its cost in 10^-12 dollars; none is unpriced.
    Call(u8, u16, Option<i64>),
    /// A change of what a call cost, booked in one of the months.
    Adjust(u8, u16, i64),
    /// A month and those before it are closed.
    Close(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hour = 0..600_u16;
    let step = prop_oneof![
        6 => (0..3_u8, hour.clone(), prop::option::weighted(0.9, 0..3_000_000_000_000_i64)).prop_map(|(m, h, c)| Step::Call(m, h, c)),
        2 => (0..3_u8, hour, -2_000_000_000_000..2_000_000_000_000_i64).prop_map(|(m, h, c)| Step::Adjust(m, h, c)),
        1 => (0..3_u8).prop_map(Step::Close),
    ];
    prop::collection::vec(step, 1..25)
}

/// Whatever comes when: the statements add up to the calls, to the last digit.
#[tokio::test]
async fn all_statements_are_all_calls() {
    let ledger = Ledger::start().await;
    let mut runner = TestRunner::deterministic();
    let zones = [Tz::UTC, ZONE, Tz::Pacific__Apia, Tz::America__New_York];
    for case in 0..16_usize {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let zone = zones[case % zones.len()];
        let tenant = ledger.tenant(&format!("tenant-{case}"), zone).await;
        let months: [Month; 3] = [months_ago(3), months_ago(2), months_ago(1)];
        let at = |month: u8, hours: u16| within(months[usize::from(month)], zone, hours.into());
        for step in &steps {
            match step {
                Step::Call(month, hours, cost) => {
                    let cost = cost.map(|digits| Decimal::new(digits, 12).to_string()).unwrap_or_default();
                    ledger.book(&tenant.party, &Row::call(at(*month, *hours), "gpt-5", &cost)).await;
                }
                Step::Adjust(month, hours, digits) => {
                    let cost = Decimal::new(*digits, 12).to_string();
                    ledger.book(&tenant.party, &Row::adjustment(at(*month, *hours), "gpt-5", &cost, false)).await;
                }
                Step::Close(month) => {
                    ledger.roll_up().await;
                    ledger.close(&tenant, months[usize::from(*month)]).await.unwrap();
                }
            }
        }
        ledger.roll_up().await;
        // the last month is closed with one call more, so that what came after an earlier close of it is on a statement
        let last = months_ago(0);
        let now = last.next().period(zone).0 + chrono::TimeDelta::days(5);
        let closing = metering::statements::Closing {
            month: last,
            now,
            by: &Actor::system("test"),
            early: false,
            dry_run: false,
        };
        metering::statements::close(&ledger.db, &ledger.settings, &tenant, closing).await.unwrap();
        let sums = "SELECT (SELECT coalesce(sum(cost_usd), 0) FROM analytics.provider_api_calls WHERE tenant_id = $1), \
                           (SELECT coalesce(sum(cost_usd), 0) FROM analytics.statements WHERE tenant_id = $1), \
                           (SELECT coalesce(sum(cost_usd), 0) FROM analytics.statement_lines WHERE tenant_id = $1), \
                           (SELECT count(*) FROM analytics.provider_api_calls WHERE tenant_id = $1 AND kind = 'call'), \
                           (SELECT coalesce(sum(calls), 0)::int8 FROM analytics.statements WHERE tenant_id = $1), \
                           (SELECT count(*) FROM analytics.provider_api_calls WHERE tenant_id = $1 AND kind = 'call' AND cost_usd IS NULL), \
                           (SELECT coalesce(sum(unpriced_calls), 0)::int8 FROM analytics.statements WHERE tenant_id = $1)";
        let row = ledger.admin.query_one(sums, &[&tenant.party.id]).await.unwrap();
        let cost = |at: usize| row.get::<_, Decimal>(at);
        assert_eq!((cost(0), cost(0)), (cost(1), cost(2)), "case {case}: {steps:?}");
        let count = |at: usize| row.get::<_, i64>(at);
        assert_eq!((count(3), count(5)), (count(4), count(6)), "case {case}: {steps:?}");
    }
}
