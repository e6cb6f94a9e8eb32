//! What one transaction books.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use metering::store::book;
use metering::{Call, CostSource, Costed, Kind, Source};
use tenantry_postgres::{DbError, MeterDb};
use uuid::Uuid;

use super::stage::{Stage, at, call, usd};

async fn booked(db: &MeterDb, calls: &[Call]) -> Result<Vec<usize>, DbError> {
    let tx = db.begin().await?;
    let new = book(&tx, calls).await?;
    tx.commit().await?;
    Ok(new)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_new_is_booked_and_counted() {
    let stage = Stage::new().await;
    let db = MeterDb::new(&stage.database.config, 1);
    let mut calls: Vec<Call> = (0..6).map(|n| call(n, "0.000000000001")).collect();
    calls[5].cost = Costed::unpriced();
    calls.push(calls[2].clone());
    assert_eq!(booked(&db, &calls).await.unwrap(), [0, 1, 2, 3, 4, 5], "a repetition in the same batch is none");
    assert_eq!(booked(&db, &calls).await.unwrap(), [0usize; 0], "nor is one of another batch");
    let tx = db.begin().await.unwrap();
    assert_eq!(book(&tx, &[call(8, "7")]).await.unwrap(), [0]);
    assert_eq!(book(&tx, &calls[1..3]).await.unwrap(), [0usize; 0], "each batch of a transaction is one of its own");
    tx.rollback().await.unwrap();
    calls.insert(3, call(9, "1"));
    assert_eq!(booked(&db, &calls).await.unwrap(), [3]);
    assert_eq!(stage.booked().await, (7, usd("1.000000000005")));
    stage.agree().await;
    let row = "SELECT tokens_input, tokens_output, usage->>'input', rates->>'output', streamed, day::text, extract(minute FROM hour)::int \
               FROM analytics.provider_api_calls WHERE id = $1";
    let row = stage.admin.query_one(row, &[&calls[0].id]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (120, 30));
    assert_eq!((row.get::<_, &str>(2), row.get::<_, &str>(3), row.get(4)), ("120", "4.0", true));
    assert_eq!((row.get::<_, String>(5), row.get::<_, i32>(6)), (calls[0].day.to_string(), 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_reports_again_is_there_whenever_it_was() {
    let stage = Stage::new().await;
    let db = MeterDb::new(&stage.database.config, 1);
    let report = Call { source: Source::Api, ..call(1, "0.5") };
    let later = Call { timestamp: report.timestamp + TimeDelta::seconds(7), ..report.clone() };
    assert_eq!(booked(&db, &[report.clone(), later.clone()]).await.unwrap(), [0]);
    assert_eq!(booked(&db, std::slice::from_ref(&later)).await.unwrap(), [0usize; 0]);
    // the id is the tenant's: another one has its own
    let other = Call { tenant_id: call(2, "").tenant_id, ..later.clone() };
    assert_eq!(booked(&db, &[later, other]).await.unwrap(), [1]);
    assert_eq!(stage.booked().await.0, 2);
    stage.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_changes_the_cost_and_is_no_call() {
    let stage = Stage::new().await;
    let db = MeterDb::new(&stage.database.config, 1);
    let unpriced = call(1, "");
    let adjustment = Call {
        id: Uuid::now_v7(),
        kind: Kind::Adjustment,
        adjusts: Some(unpriced.id),
        prices_call: true,
        cost: Costed::of(Some(usd("0.25")), CostSource::Adjustment),
        ..unpriced.clone()
    };
    booked(&db, &[unpriced]).await.unwrap();
    booked(&db, &[adjustment]).await.unwrap();
    let counter = "SELECT calls, unpriced_calls, cost_usd = 0.25 FROM analytics.spend_counters WHERE scope = 'tenant'";
    let row = stage.admin.query_one(counter, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, bool>(2)), (1, 0, true));
    stage.agree().await;
}

/// Shipments of two servers with the same tenants, in opposite orders, and every call in both.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_ship_the_same_book_it_once_and_wait_for_each_other_in_one_order() {
    let stage = Stage::new().await;
    let db = MeterDb::new(&stage.database.config, 8);
    let noon = Utc::now();
    let make = |n: u128| Call {
        source: if n.is_multiple_of(2) { Source::Api } else { Source::Gateway },
        ..at(n % 7, "0.01", noon)
    };
    let calls: Vec<Call> = (0..140).map(make).collect();
    let mut shipments = tokio::task::JoinSet::new();
    for server in 0..4 {
        let (db, mut own) = (db.clone(), calls.clone());
        if server % 2 == 1 {
            own.reverse();
        }
        if server > 1 {
            // one that gives the reports another time
            own.iter_mut().filter(|c| c.source == Source::Api).for_each(|c| c.timestamp += TimeDelta::milliseconds(1));
        }
        shipments.spawn(async move {
            let mut new = 0;
            for part in own.chunks(20) {
                new += booked(&db, part).await.unwrap().len();
            }
            new
        });
    }
    let new = tokio::time::timeout(Duration::from_secs(20), shipments.join_all()).await.unwrap();
    assert_eq!(new.iter().sum::<usize>(), 140);
    assert_eq!(stage.booked().await, (140, usd("1.40")));
    stage.agree().await;
}
