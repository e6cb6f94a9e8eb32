use metering::Decimal;
use metering::bills::{BillError, Import, Imported, import};
use metering::reports::{AlertSettings, BillStatus, Period, ReconcileQuery, ReportSettings, health, reconcile};
use tenantry_core::SystemClock;
use tenantry_core::calendar::Tz;
use tenantry_postgres::Actor;

use crate::ledger::{Ledger, Row, months_ago, within};

async fn bill(ledger: &Ledger, file: &str) -> Result<Imported, BillError> {
    let import_of =
        Import { provider: "openai", format: None, account: "", bytes: file.as_bytes(), by: &Actor::system("ada") };
    import(&ledger.db, &SystemClock, &import_of).await
}

#[tokio::test]
async fn a_bill_is_imported_once_and_whole() {
    let ledger = Ledger::start().await;
    let file = "day,model,amount_usd\n2026-10-01,gpt-5,1.25\n2026-10-02,gpt-5,2.5\n";
    let first = bill(&ledger, file).await.unwrap();
    assert!(!first.repeated);
    assert_eq!((first.bill.lines, first.bill.total_usd), (2, Decimal::new(375, 2)));
    let again = bill(&ledger, file).await.unwrap();
    assert_eq!((again.repeated, &again.bill), (true, &first.bill));
    let bad = bill(&ledger, "day,model,amount_usd\n2026-10-03,gpt-5,1\n2026-10-04,gpt-5,many\n").await.unwrap_err();
    assert!(matches!(&bad, BillError::Lines(lines) if lines.len() == 1 && lines[0].line == 3), "{bad}");
    let count = "SELECT (SELECT count(*) FROM analytics.provider_bills) * 100 + (SELECT count(*) FROM analytics.provider_bill_lines)";
    assert_eq!(ledger.admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 102);
    // The platform's trail has it once, and what was refused not at all.
    let told =
        "SELECT actor, target, details->>'total_usd', tenant_id IS NULL FROM audit.events WHERE action LIKE 'bill.%'";
    let told = ledger.admin.query(told, &[]).await.unwrap();
    assert_eq!(told.len(), 1);
    let (actor, target): (&str, &str) = (told[0].get(0), told[0].get(1));
    assert_eq!((actor, target), ("ada", format!("bill/{}", first.bill.id).as_str()));
    assert_eq!((told[0].get::<_, &str>(2), told[0].get::<_, bool>(3)), ("3.750000000000", true));
}

#[tokio::test]
async fn days_are_compared_with_the_bill_that_was_imported_last() {
    let ledger = Ledger::start().await;
    // an hour behind UTC midnight in one zone, an hour before it in another: days of bills are those of UTC
    let (acme, globex) = (ledger.tenant("acme", Tz::Europe__Berlin).await, ledger.tenant("globex", Tz::UTC).await);
    let month = months_ago(1);
    let days: Vec<_> = month.first_day().iter_days().take(4).collect();
    for (tenant, hours, cost) in
        [(&acme, 1, "10"), (&globex, 2, "5"), (&globex, 26, "4"), (&globex, 50, "3"), (&globex, 74, "1")]
    {
        ledger.book(&tenant.party, &Row::call(within(month, Tz::UTC, hours), "gpt-5", cost)).await;
    }
    ledger.book(&globex.party, &Row::call(within(month, Tz::UTC, 27), "new", "")).await;
    ledger.roll_up().await;
    let first = format!("day,amount_usd\n{},15.1\n{},9\n{},3\n", days[0], days[1], days[2]);
    bill(&ledger, &first).await.unwrap();
    let later = format!("day,amount_usd\n{},5\n{},2\n", days[1], days[2]);
    bill(&ledger, &later).await.unwrap();

    let tx = ledger.db.snapshot().await.unwrap();
    let query = ReconcileQuery { period: Period::month(month), provider: None, by_account: false };
    let rows = reconcile(&tx, &ReportSettings::default(), &query, None, 10).await.unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| (row.day, row.status, row.captured_usd.to_string(), row.unpriced_calls)).collect();
    let row = |day: usize, status, captured: &str, unpriced| {
        (days[day], status, format!("{captured}.000000000000"), unpriced)
    };
    assert_eq!(
        shown,
        [
            row(3, BillStatus::Missing, "1", 0),
            row(2, BillStatus::Over, "3", 0),
            row(1, BillStatus::Short, "4", 1),
            row(0, BillStatus::Ok, "15", 0),
        ]
    );
    let place = (rows[1].day, rows[1].provider.as_str(), "");
    let rest = reconcile(&tx, &ReportSettings::default(), &query, Some(place), 10).await.unwrap();
    assert_eq!(rest, rows[2..], "the next page goes on");
    let accounts = ReconcileQuery { by_account: true, ..query };
    assert_eq!(
        reconcile(&tx, &ReportSettings::default(), &accounts, None, 10).await.unwrap()[0].account.as_deref(),
        Some("")
    );

    // seen from the days after, the short day is what is warned of
    let now = month.next().period(Tz::UTC).0;
    let health = health(&tx, now).await.unwrap();
    let least = health.least_captured.clone().unwrap();
    assert_eq!((least.day, least.part.normalize().to_string()), (days[1], "0.8".to_owned()));
    let alerts = metering::reports::alerts(&health, None, &AlertSettings::default());
    assert!(alerts.iter().any(|alert| alert.name.as_str() == "captured_short"), "{alerts:?}");
    tx.rollback().await.unwrap();
}
