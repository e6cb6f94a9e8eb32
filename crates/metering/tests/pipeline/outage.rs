//! PostgreSQL is killed, and away for a while.

use std::time::Duration;

use metering::ship::Shipping;
use tenantry_embedded::{StopMode, Throwaway, ThrowawayConfig};
use testkit::TestDatabase;

use super::stage::{Stage, call, empty, unsettled, until, usd};

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_taken_while_the_database_is_away_and_booked_when_it_is_back() {
    let mut server = Throwaway::start(ThrowawayConfig::default()).await.unwrap();
    let database = TestDatabase::create_on(&server.cluster().superuser_url("postgres")).await;
    let mut stage = Stage::on(database).await;
    let metering = stage.metering();
    let shipping = Shipping::start(&metering, &stage.settings()).unwrap();
    let record = async |calls: u128| {
        for n in 0..calls {
            let call = call(n % 5, "0.003");
            metering.spool.intend(&unsettled(&call, "0.1")).await.unwrap();
            metering.spool.settle(&call).await.unwrap();
        }
    };
    for crash in 0..3 {
        // in the middle of whatever it does
        record(100).await;
        server.cluster().kill9();
        record(100).await;
        let state = until(&metering, |state| state.last_error.is_some()).await;
        assert!(state.records > 0 && state.oldest_age_seconds > 0.0, "crash {crash}: {state:?}");
        server.cluster_mut().resume().await.unwrap();
        let state = empty(&metering).await;
        assert_eq!(state.rejected, 0, "crash {crash}: {state:?}");
    }
    until(&metering, |state| state.last_error.is_none()).await;
    shipping.stop(Duration::from_secs(5)).await;
    stage.admin = stage.database.admin().await;
    assert_eq!(stage.booked().await, (600, usd("1.800")));
    stage.agree().await;
    server.cluster_mut().halt(StopMode::Immediate).await.unwrap();
    server.stop().await.unwrap();
}

/// Intents are records, too, but no rows: counted as such they would make the rest look shipped, and a stop would throw it away.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ships_more_than_a_batch_or_keeps_it() {
    let stage = Stage::new().await;
    let settings = metering::MeteringSettings { ship_batch: 10, ..stage.settings() };
    let metering = stage.metering();
    for _ in 0..25 {
        let call = call(1, "0.5");
        metering.spool.intend(&unsettled(&call, "1")).await.unwrap();
        metering.spool.settle(&call).await.unwrap();
    }
    let shipping = Shipping::start(&metering, &settings).unwrap();
    shipping.stop(Duration::from_secs(10)).await;
    assert_eq!(stage.booked().await, (25, usd("12.5")));
    assert_eq!(metering.health().bytes, 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_is_full_refuses_until_it_is_shipped() {
    let stage = Stage::new().await;
    let settings = metering::MeteringSettings { spool_max_bytes: 512 << 10, ..stage.settings() };
    let metering =
        metering::Metering::start(&stage.database.config, &settings, std::sync::Arc::new(tenantry_core::SystemClock))
            .unwrap();
    let held = call(1, "0.5");
    metering.spool.intend(&unsettled(&held, "1")).await.unwrap();
    let mut taken = 0;
    let refusal = loop {
        match metering.spool.record(&[call(2, "0.5")]).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, metering::spool::SpoolError::Full), "{refusal}");
    assert!(taken > 100, "{taken}");
    let state = metering.health();
    assert!(state.full && state.bytes <= state.max_bytes && state.records == taken, "{state:?}");
    metering.spool.settle(&held).await.unwrap();
    let shipping = Shipping::start(&metering, &settings).unwrap();
    // segments go after the rows in them were shipped
    until(&metering, |state| state.records == 0 && state.bytes <= state.max_bytes / 2).await;
    metering.spool.record(&[call(2, "0.5")]).await.unwrap();
    assert!(!metering.health().full);
    empty(&metering).await;
    assert!(metering.health().bytes < 512 << 10, "what is shipped takes no space");
    shipping.stop(Duration::from_secs(5)).await;
    assert_eq!(metering.health().bytes, 0, "nothing is left");
    assert_eq!(stage.booked().await.0, i64::try_from(taken).unwrap() + 2);
}

/// A report that is larger than a segment gets one of its own, and what was prepared for others stays in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_report_has_room() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    let held = call(1, "0.5");
    metering.spool.intend(&unsettled(&held, "1")).await.unwrap();
    for _ in 0..2 {
        let many: Vec<_> = (0..100).map(|n| call(n % 3, "0.01")).collect();
        metering.spool.record(&many).await.unwrap();
        for n in 0..60 {
            metering.spool.record(&[call(n, "0.01")]).await.unwrap();
        }
    }
    metering.spool.settle(&held).await.unwrap();
    metering.spool.close().await;
    let state = stage.ship().await;
    assert_eq!((state.shipped, state.damaged_bytes, state.reaped), (321, 0, 0), "{state:?}");
}
