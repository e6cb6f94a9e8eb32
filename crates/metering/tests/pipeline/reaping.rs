//! Calls that are never seen to end, or late; and clocks that jump.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metering::prices::Reprice;
use metering::ship::Shipping;
use metering::{Call, Decimal, Metering, MeteringSettings};
use tenantry_core::ManualClock;
use tenantry_postgres::Actor;

use super::stage::{Stage, call, empty, unsettled, until, usd};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_end_is_booked_as_unsettled_and_corrected_when_it_does() {
    let stage = Stage::new().await;
    let settings = MeteringSettings { reap_after: Duration::from_millis(50), ..stage.settings() };
    let metering = Metering::start(&stage.database.config, &settings, Arc::new(ManualClock::new(Utc::now()))).unwrap();
    let (late, cheap) = (call(1, "0.4"), call(1, ""));
    metering.spool.intend(&unsettled(&late, "1.5")).await.unwrap();
    metering.spool.intend(&unsettled(&cheap, "")).await.unwrap();
    let shipping = Shipping::start(&metering, &settings).unwrap();
    let state = until(&metering, |state| state.shipped == 2).await;
    assert_eq!((state.reaped, state.in_flight), (2, 0), "{state:?}");
    assert_eq!(stage.booked().await, (2, usd("1.5")));
    metering.spool.settle(&late).await.unwrap();
    let cheap = metering::Call { cost: call(1, "0.2").cost, ..cheap };
    metering.spool.settle(&cheap).await.unwrap();
    let state = until(&metering, |state| state.shipped == 4).await;
    assert_eq!(state.late, 2);
    shipping.stop(Duration::from_secs(5)).await;
    assert_eq!(stage.booked().await, (4, usd("0.6")));
    let sql = "SELECT count(*) FILTER (WHERE kind = 'call'), count(*) FILTER (WHERE prices_call), bool_and(adjusts IS NOT NULL) FILTER (WHERE kind = 'adjustment'), \
               sum(tokens_input) FILTER (WHERE kind = 'adjustment')::int8 FROM analytics.provider_api_calls";
    let row = stage.admin.query_one(sql, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, bool>(2), row.get::<_, i64>(3)),
        (2, 1, true, 0)
    );
    stage.agree().await;
}

/// The row of a call that came late says a bound still; what it is worth is in its correction.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_late_is_not_undone_when_calls_are_priced_again() {
    let stage = Stage::new().await;
    let settings = MeteringSettings { reap_after: Duration::from_millis(50), ..stage.settings() };
    let metering = Metering::start(&stage.database.config, &settings, Arc::new(ManualClock::new(Utc::now()))).unwrap();
    let (late, seen) = (call(1, "0.4"), call(1, "0.4"));
    metering.spool.intend(&unsettled(&late, "1.5")).await.unwrap();
    metering.spool.record(std::slice::from_ref(&seen)).await.unwrap();
    let shipping = Shipping::start(&metering, &settings).unwrap();
    until(&metering, |state| state.shipped == 2).await;
    metering.spool.settle(&late).await.unwrap();
    until(&metering, |state| state.shipped == 3).await;
    shipping.stop(Duration::from_secs(5)).await;
    let again = Reprice {
        tenant: None,
        since: DateTime::UNIX_EPOCH,
        until: Utc::now() + TimeDelta::days(1),
        changed: true,
        dry_run: false,
        reason: "a wrong price".to_owned(),
        after: None,
        at_most: u64::MAX,
    };
    let who = Actor::system("test");
    let done = metering.prices.reprice(&metering.db, &again, &who, Utc::now(), |_| true).await.unwrap();
    assert_eq!((done.calls, done.adjusted), (1, 1), "only the one that was seen to end: {done:?}");
    let sql = "SELECT sum(cost_usd), count(*) FROM analytics.provider_api_calls WHERE $1 IN (id, adjusts)";
    let worth = async |call: &Call| {
        let row = stage.admin.query_one(sql, &[&call.id]).await.unwrap();
        (row.get::<_, Decimal>(0).normalize(), row.get::<_, i64>(1))
    };
    assert_eq!(worth(&late).await, (usd("0.4"), 2));
    assert_eq!(worth(&seen).await, (usd("0.00036"), 2), "by the list");
    stage.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_neither_ends_calls_nor_loses_them() {
    let stage = Stage::new().await;
    let clock = Arc::new(ManualClock::new(Utc::now()));
    let metering = stage.metering_at(clock.clone());
    let shipping = Shipping::start(&metering, &stage.settings()).unwrap();
    let held = call(1, "0.5");
    metering.spool.intend(&unsettled(&held, "1")).await.unwrap();
    for days in [1, -2, 30, -29] {
        clock.advance(TimeDelta::days(days));
        metering.spool.record(&[call(2, "0.25")]).await.unwrap();
        let state = until(&metering, |state| state.records == 0).await;
        assert_eq!((state.in_flight, state.reaped), (1, 0), "after {days} days: {state:?}");
    }
    metering.spool.settle(&held).await.unwrap();
    let state = empty(&metering).await;
    assert!((state.oldest_age_seconds, state.reaped, state.late) == (0.0, 0, 0), "{state:?}");
    shipping.stop(Duration::from_secs(5)).await;
    assert_eq!(stage.booked().await, (5, usd("1.5")));
    stage.agree().await;
}

/// Who does not wait for the intent does not make the call.
#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_nobody_waited_for_is_no_call() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    let mut ids = Vec::new();
    loop {
        let call = call(1, "0.5");
        {
            let intend = metering.spool.intend(&call);
            tokio::pin!(intend);
            // one poll: it is on its way
            if futures_util::poll!(&mut intend).is_pending() {
                break;
            }
        }
        // The writer was quicker, so somebody knows of it: a call like any other.
        metering.spool.settle(&call).await.unwrap();
        ids.push(call.id);
    }
    let made = call(1, "0.5");
    metering.spool.intend(&unsettled(&made, "1")).await.unwrap();
    metering.spool.settle(&made).await.unwrap();
    metering.spool.close().await;
    let state = stage.ship().await;
    ids.push(made.id);
    assert_eq!((stage.ids().await, state.reaped), (ids, 0));
}
