use chrono::TimeDelta;
use futures_util::future::join_all;
use metering::statements::{CloseError, Closing, close};
use tenantry_core::calendar::Tz;
use tenantry_postgres::Actor;

use crate::ledger::{Ledger, Row, months_ago, within};

const ZONE: Tz = Tz::Europe__Berlin;

async fn state(client: &tokio_postgres::Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".into(),
        Err(error) => error.code().unwrap().code().to_owned(),
    }
}

#[tokio::test]
async fn many_who_close_at_once_close_each_month_once() {
    let ledger = Ledger::start().await;
    let acme = ledger.tenant("acme", ZONE).await;
    for month in [3, 2, 1] {
        ledger.book(&acme.party, &Row::call(within(months_ago(month), ZONE, 5), "gpt-5", "1.5")).await;
    }
    ledger.roll_up().await;
    let closings = join_all((0..6).map(|n| ledger.close(&acme, months_ago(1 + n % 3)))).await;
    let made: usize = closings.iter().flatten().map(Vec::len).sum();
    for outcome in closings {
        assert!(matches!(outcome, Ok(_) | Err(CloseError::Raced)), "{outcome:?}");
    }
    ledger.close(&acme, months_ago(1)).await.unwrap();
    let sql = "SELECT string_agg(number || ' ' || cost_usd::numeric(9, 1) || ' ' || calls, ', ' ORDER BY month) FROM analytics.statements";
    let text: String = ledger.admin.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(text, "1 1.5 1, 2 1.5 1, 3 1.5 1");
    assert!(made <= 3);
    let told = "SELECT string_agg((details->>'number') || ' ' || (tenant_id = $1) || ' ' || actor, ', ' ORDER BY target) FROM audit.events \
                WHERE action = 'statement.close'";
    let told: String = ledger.admin.query_one(told, &[&acme.party.id]).await.unwrap().get(0);
    assert_eq!(told, "1 true test, 2 true test, 3 true test", "the company's trail has each once");
}

#[tokio::test]
async fn a_month_is_closed_when_late_calls_have_had_their_days() {
    let ledger = Ledger::start().await;
    let acme = ledger.tenant("acme", ZONE).await;
    let month = months_ago(2);
    ledger.book(&acme.party, &Row::call(within(month, ZONE, 5), "gpt-5", "1.5")).await;
    ledger.roll_up().await;
    let (_, end) = month.period(ZONE);
    let try_at = async |now, early, dry_run| {
        let closing = Closing { month, now, by: &Actor::system("test"), early, dry_run };
        close(&ledger.db, &ledger.settings, &acme, closing).await.map(|outcome| outcome.statements.len())
    };
    let last_moment = end + TimeDelta::days(3) - TimeDelta::seconds(1);
    assert!(matches!(try_at(last_moment, false, false).await, Err(CloseError::TooEarly { .. })));
    assert!(matches!(try_at(end - TimeDelta::seconds(1), true, false).await, Err(CloseError::TooEarly { .. })));
    for _ in 0..2 {
        assert_eq!(try_at(end, true, true).await.unwrap(), 1, "a dry run writes nothing");
    }
    assert_eq!(try_at(last_moment + TimeDelta::seconds(1), false, false).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_closed_is_changed_by_nobody_and_removed_by_a_purge() {
    let ledger = Ledger::start().await;
    for slug in ["acme", "globex"] {
        let tenant = ledger.tenant(slug, ZONE).await;
        ledger.book(&tenant.party, &Row::call(within(months_ago(2), ZONE, 5), "gpt-5", "1.5")).await;
        ledger.roll_up().await;
        ledger.close(&tenant, months_ago(2)).await.unwrap();
    }
    let changes = [
        "UPDATE analytics.statements SET amount_usd = 0",
        "UPDATE analytics.statement_lines SET cost_usd = 0",
        "DELETE FROM analytics.statement_lines",
        "DELETE FROM analytics.statements",
        "TRUNCATE analytics.statements CASCADE",
    ];
    for change in changes {
        assert_eq!(state(&ledger.admin, change).await, "23001", "{change}");
    }
    let others = ledger.world.admin().await;
    others.batch_execute("SET ROLE tenantry_owner").await.unwrap();
    for change in &changes[..4] {
        // it sees nothing to change
        assert_eq!(state(&others, change).await, "ok", "{change}");
    }
    others.batch_execute("RESET ROLE; SET ROLE tenantry_meter").await.unwrap();
    for change in changes {
        assert_eq!(state(&others, change).await, "42501", "{change}");
    }
    let count = "SELECT (SELECT count(*) FROM analytics.statements) + (SELECT count(*) FROM analytics.statement_lines)";
    assert_eq!(ledger.admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 4);
    let (provisioner, who) = (&ledger.world.provisioner, Actor::system("test"));
    provisioner.delete("acme", TimeDelta::zero(), &who).await.unwrap();
    provisioner.purge("acme", TimeDelta::zero(), &who).await.unwrap();
    assert_eq!(ledger.admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);

    // whoever switches the defence off is found out by the digest
    let forge =
        "ALTER TABLE analytics.statement_lines DISABLE TRIGGER ALL; UPDATE analytics.statement_lines SET cost_usd = 0";
    ledger.admin.batch_execute(forge).await.unwrap();
    let tx = ledger.db.begin().await.unwrap();
    let globex = metering::store::statements::tenants(&tx, None, Some("globex"), 1).await.unwrap().remove(0);
    tx.rollback().await.unwrap();
    let forged = ledger.statement(&globex, months_ago(2), chrono::Utc::now()).await.unwrap();
    assert!(!forged.intact);
}
