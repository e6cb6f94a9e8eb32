//! The sums on a real database, and what happens when calls come while they are made.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use uuid::Uuid;

use super::histogram::{BOUNDS, BUCKETS};
use super::hour::{How, Rolled, roll};
use super::{Hour, Rollup, RollupSettings};
use crate::call::{Attribution, Call, Costed, Kind, bucket};
use crate::store::{book, rollup as store};
use crate::testing::{Bench, call, hours};

/// Ten o'clock of yesterday: past, and in a partition that is there.
fn ten() -> DateTime<Utc> {
    let yesterday = Utc::now().date_naive().pred_opt().unwrap();
    yesterday.and_hms_opt(10, 0, 0).unwrap().and_utc()
}

fn job(bench: &Bench) -> Rollup {
    Rollup::new(bench.db.clone(), RollupSettings { debounce: std::time::Duration::ZERO, ..RollupSettings::default() })
}

async fn marked(bench: &Bench) -> i64 {
    job(bench).lag(None).await.unwrap().dirty_hours
}

/// Calls and cost of a table of a tenant.
async fn sums(bench: &Bench, table: &str, tenant: TenantId) -> (i64, Decimal) {
    let (calls, cost) = match table {
        "provider_api_calls" => ("count(*)", "sum(cost_usd)"),
        "daily_metrics" => ("sum(total_calls)::bigint", "sum(total_cost_usd)"),
        _ => ("sum(total_calls)::bigint", "sum(cost_usd)"),
    };
    let sql = format!("SELECT coalesce({calls}, 0), coalesce({cost}, 0) FROM analytics.{table} WHERE tenant_id = $1");
    let row = bench.world.admin().await.query_one(&sql, &[tenant.as_uuid()]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Waits until a statement of the metering's waits for a lock.
async fn until_somebody_waits(bench: &Bench) {
    let admin = bench.world.admin().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tenantry_meter' AND wait_event_type = 'Lock'";
    while admin.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
}

fn dollars(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_those_of_the_calls() {
    let bench = Bench::start().await;
    let bounds: Vec<i32> =
        bench.world.admin().await.query_one("SELECT analytics.latency_bounds()", &[]).await.unwrap().get(0);
    assert_eq!(bounds, BOUNDS);
    let agent = Uuid::new_v4();
    let mut calls: Vec<Call> = (0..6).map(|n| call(bench.acme, ten() + TimeDelta::minutes(n * 20))).collect();
    calls[0].cost.cost_usd = Some(dollars("0.000000000001"));
    calls[1].cost = Costed::unpriced();
    calls[2].success = false;
    calls[3].attribution.agent_id = Some(agent);
    calls[4].latency_ms = 5;
    calls[5].latency_ms = 700_000;
    calls.push(Call {
        kind: Kind::Adjustment,
        prices_call: true,
        usage: crate::usage::Usage::default(),
        latency_ms: 0,
        ..call(bench.acme, ten())
    });
    calls.push(call(bench.globex, ten()));
    bench.ship(&calls).await;
    assert_eq!(marked(&bench).await, 3);
    let tally = job(&bench).tick().await.unwrap();
    assert_eq!((tally.hours, tally.marked, tally.failed), (3, 0, 0));
    assert_eq!(marked(&bench).await, 0);

    let admin = bench.world.admin().await;
    let hour = "SELECT total_calls, operations, successful_calls, unpriced_calls, cost_usd, adjustments_usd, failed_cost_usd, tokens_input, latency_ms, \
        latency_histogram FROM analytics.hourly_metrics WHERE tenant_id = $1 AND hour = $2 AND agent_id IS NULL";
    let row = admin.query_one(hour, &[bench.acme.as_uuid(), &ten()]).await.unwrap();
    let numbers: Vec<i64> = (0..4).map(|at| row.get(at)).collect();
    assert_eq!(numbers, [3, 3, 2, 0], "the adjustment has given a price to the call that had none");
    let money: Vec<Decimal> = (4..7).map(|at| row.get(at)).collect();
    assert_eq!(money, [dollars("0.002000000001"), dollars("0.001"), dollars("0.001")]);
    assert_eq!((row.get::<_, i64>(7), row.get::<_, i64>(8)), (300, 360));
    let histogram: Vec<i64> = row.get(9);
    assert_eq!((histogram.len(), histogram.iter().sum::<i64>(), histogram[7]), (BUCKETS, 3, 3));
    let days = "SELECT agent_id, total_calls, total_cost_usd, latency_histogram[1], latency_histogram[2], latency_histogram[32] FROM analytics.daily_metrics \
        WHERE tenant_id = $1 ORDER BY agent_id NULLS FIRST";
    let rows = admin.query(days, &[bench.acme.as_uuid()]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].get::<_, i64>(1), rows[0].get::<_, Decimal>(2)), (5, dollars("0.004000000001")));
    assert_eq!([3, 4, 5].map(|at| rows[0].get::<_, i64>(at)), [0, 1, 1], "a bucket ends before its bound");
    assert_eq!((rows[1].get::<_, Option<Uuid>>(0), rows[1].get::<_, i64>(1)), (Some(agent), 1));

    // a late call, and nothing else, changes its hour alone; rows keep their ids
    let id = "SELECT id FROM analytics.daily_metrics WHERE tenant_id = $1 AND agent_id IS NULL";
    let before: Uuid = admin.query_one(id, &[bench.acme.as_uuid()]).await.unwrap().get(0);
    bench.ship(&[call(bench.acme, ten())]).await;
    assert_eq!(job(&bench).tick().await.unwrap().hours, 1);
    assert_eq!(sums(&bench, "daily_metrics", bench.acme).await, (7, dollars("0.006000000001")));
    assert_eq!(before, admin.query_one(id, &[bench.acme.as_uuid()]).await.unwrap().get::<_, Uuid>(0));
    assert_eq!(sums(&bench, "hourly_metrics", bench.globex).await, (1, dollars("0.001")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_that_gets_calls_all_the_time_is_summed_once_in_a_while() {
    let bench = Bench::start().await;
    let slow = Rollup::new(bench.db.clone(), RollupSettings::default());
    bench.ship(&[call(bench.acme, ten())]).await;
    assert_eq!(slow.tick().await.unwrap().hours, 0, "its calls are still gathered");
    let age = "UPDATE analytics.dirty_hours SET marked_at = marked_at - interval '6 seconds'";
    bench.world.admin().await.batch_execute(age).await.unwrap();
    bench.ship(&[call(bench.acme, ten())]).await;
    assert!(slow.lag(Some(bench.acme)).await.unwrap().seconds > 6.0, "a further call makes no mark younger");
    assert_eq!(slow.tick().await.unwrap().hours, 1);
    bench.ship(&[call(bench.acme, ten())]).await;
    assert_eq!(slow.tick().await.unwrap().hours, 0);
    assert_eq!(sums(&bench, "hourly_metrics", bench.acme).await.0, 2);
    // who cannot wait says so
    assert_eq!(slow.settle(Some(bench.acme), |_| ()).await.unwrap().hours, 1);
    assert_eq!(sums(&bench, "hourly_metrics", bench.acme).await.0, 3);
}

/// Makes the sums of an hour while a call comes that is committed after they were read.
async fn summed_while_a_call_comes(bench: &Bench, how: How) -> (Rolled, Hour) {
    let first = call(bench.acme, ten());
    let hour = hours(std::slice::from_ref(&first))[0];
    bench.ship(&[first]).await;
    // The sums stop between the hour and the day: after the calls were read, before the mark is removed.
    let mut admin = bench.world.admin().await;
    let gate = admin.transaction().await.unwrap();
    gate.batch_execute("LOCK TABLE analytics.daily_metrics IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let db = bench.db.clone();
    let rolling = tokio::spawn(async move { roll(&db, &hour, how).await.unwrap() });
    until_somebody_waits(bench).await;
    bench.ship(&[call(bench.acme, ten())]).await;
    gate.commit().await.unwrap();
    (rolling.await.unwrap(), hour)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_comes_while_sums_are_made_leaves_its_mark() {
    let bench = Bench::start().await;
    let (rolled, _) = summed_while_a_call_comes(&bench, How::Pass).await;
    assert_eq!(rolled, Rolled::Done { calls: 1, marked: true });
    assert_eq!(job(&bench).tick().await.unwrap().hours, 1);
    assert_eq!(sums(&bench, "daily_metrics", bench.acme).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_without_the_look_at_the_mark_a_call_is_missing() {
    let bench = Bench::start().await;
    let (rolled, _) = summed_while_a_call_comes(&bench, How::Blind).await;
    assert_eq!(rolled, Rolled::Done { calls: 1, marked: false });
    assert_eq!(job(&bench).tick().await.unwrap().hours, 0);
    assert_eq!(sums(&bench, "daily_metrics", bench.acme).await.0, 1, "two calls were shipped");
    assert_eq!(sums(&bench, "provider_api_calls", bench.acme).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_being_written_is_waited_for() {
    let bench = Bench::start().await;
    let (first, second) = (call(bench.acme, ten()), call(bench.acme, ten()));
    let hour = hours(std::slice::from_ref(&first))[0];
    bench.ship(&[first]).await;
    let shipping = bench.db.begin().await.unwrap();
    book(&shipping, &[second]).await.unwrap();
    let db = bench.db.clone();
    let rolling = tokio::spawn(async move { roll(&db, &hour, How::Pass).await.unwrap() });
    until_somebody_waits(&bench).await;
    // another server passes over it
    assert_eq!(roll(&bench.db, &hour, How::Pass).await.unwrap(), Rolled::Busy);
    shipping.commit().await.unwrap();
    assert_eq!(rolling.await.unwrap(), Rolled::Done { calls: 1, marked: true });
    assert_eq!(roll(&bench.db, &hour, How::Pass).await.unwrap(), Rolled::Done { calls: 2, marked: false });
    assert_eq!(roll(&bench.db, &hour, How::Pass).await.unwrap(), Rolled::Unmarked);
}

/// Marks after the mark was removed and before that is committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_comes_after_the_removal_is_a_new_one() {
    let bench = Bench::start().await;
    let (first, second) = (call(bench.acme, ten()), call(bench.acme, ten()));
    let hour = hours(std::slice::from_ref(&first))[0];
    bench.ship(&[first]).await;
    let summing = super::day::try_hold(&bench.db, hour.tenant, hour.day).await.unwrap().unwrap();
    let mark = store::read_mark(&summing, &hour).await.unwrap().unwrap();
    store::clear_hour(&summing, &hour).await.unwrap();
    assert_eq!(store::sum_hour(&summing, &hour).await.unwrap(), 1);
    store::sum_day(&summing, hour.tenant, hour.day).await.unwrap();
    assert!(store::unmark(&summing, &hour, &mark).await.unwrap());
    let shipping = bench.ship(std::slice::from_ref(&second));
    let (_, ()) = tokio::join!(shipping, async {
        until_somebody_waits(&bench).await;
        summing.commit().await.unwrap();
    });
    assert_eq!(marked(&bench).await, 1);
    job(&bench).tick().await.unwrap();
    assert_eq!(sums(&bench, "daily_metrics", bench.acme).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn shipping_and_several_servers_that_sum_at_once_leave_nothing_out() {
    const SHIPPED: i64 = 4 * 40 * 5;
    let bench = Bench::start().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let settings = RollupSettings {
                interval: std::time::Duration::from_millis(1),
                debounce: std::time::Duration::ZERO,
                ..RollupSettings::default()
            };
            tokio::spawn(Rollup::new(bench.db.clone(), settings).run(stop.clone()))
        })
        .collect();
    let shipper = |seed: i64| {
        let bench = &bench;
        async move {
            for batch in 0..40 {
                let calls: Vec<Call> = (0..5)
                    .map(|n| {
                        let tenant = if (seed + batch) % 3 == 0 { bench.globex } else { bench.acme };
                        call(tenant, ten() + TimeDelta::minutes((seed + batch * 7 + n * 31) % 170))
                    })
                    .collect();
                bench.ship(&calls).await;
            }
        }
    };
    tokio::join!(shipper(0), shipper(1), shipper(2), shipper(3));
    stop.cancel();
    for server in servers {
        server.await.unwrap();
    }
    job(&bench).settle(None, |_| ()).await.unwrap();
    assert_eq!(marked(&bench).await, 0);
    for table in ["hourly_metrics", "daily_metrics"] {
        let (acme, globex) = (sums(&bench, table, bench.acme).await, sums(&bench, table, bench.globex).await);
        assert_eq!(acme.0 + globex.0, SHIPPED, "{table}");
        assert_eq!(acme, sums(&bench, "provider_api_calls", bench.acme).await, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_outlive_their_calls() {
    let bench = Bench::start().await;
    bench.ship(&[call(bench.acme, ten()), call(bench.acme, ten())]).await;
    job(&bench).tick().await.unwrap();
    let admin = bench.world.admin().await;
    admin.batch_execute("DELETE FROM analytics.provider_api_calls").await.unwrap();
    bench.ship(&[call(bench.acme, ten())]).await;
    let tally = job(&bench).tick().await.unwrap();
    assert_eq!((tally.hours, tally.kept), (0, 1));
    assert_eq!(sums(&bench, "daily_metrics", bench.acme).await.0, 2);
    assert_eq!(marked(&bench).await, 0);
    // unless somebody says so
    let hour = hours(&[call(bench.acme, ten())])[0];
    assert_eq!(job(&bench).repair(&hour).await.unwrap(), Rolled::Done { calls: 1, marked: false });
    assert_eq!(sums(&bench, "daily_metrics", bench.acme).await.0, 1);
}

/// Ends a task as the tenant does, at a time.
async fn end(bench: &Bench, task: Uuid, provider: Option<&str>, status: &str, at: DateTime<Utc>) {
    let sql = "INSERT INTO analytics.task_outcomes AS o (tenant_id, task_id, provider, status, finished_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (tenant_id, task_id) DO UPDATE SET provider = excluded.provider, status = excluded.status, \
            finished_at = excluded.finished_at, counted = false";
    let admin = bench.world.admin().await;
    admin.execute(sql, &[bench.acme.as_uuid(), &task, &provider, &status, &at]).await.unwrap();
}

async fn completed(bench: &Bench) -> Vec<(NaiveDate, String, i64)> {
    let sql =
        "SELECT date, provider, tasks_completed FROM analytics.daily_metrics WHERE tasks_completed > 0 ORDER BY 1, 2";
    let rows = bench.world.admin().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_tasks_count_once_on_the_tenants_day() {
    let bench = Bench::start().await;
    let admin = bench.world.admin().await;
    let zone = "UPDATE public.tenants SET time_zone = 'Asia/Kolkata' WHERE slug = 'acme'";
    admin.batch_execute(zone).await.unwrap();
    let tasks: Vec<Uuid> = (0..4).map(|_| Uuid::new_v4()).collect();
    let evening = ten() + TimeDelta::hours(9);
    let (day, next) = (ten().date_naive(), ten().date_naive().succ_opt().unwrap());
    end(&bench, tasks[0], Some("openai"), "completed", ten()).await;
    end(&bench, tasks[1], None, "completed", evening).await;
    end(&bench, tasks[2], Some("openai"), "failed", ten()).await;
    assert_eq!(job(&bench).tick().await.unwrap().tasks, 3);
    assert_eq!(job(&bench).tick().await.unwrap().tasks, 0);
    assert_eq!(completed(&bench).await, [(day, "openai".into(), 1), (next, "none".into(), 1)]);

    // its calls come late, and say which provider it was
    let for_task = Attribution { task_id: Some(tasks[1]), ..Attribution::default() };
    let (hour, kolkata) = bucket(evening, tenantry_core::calendar::Tz::Asia__Kolkata);
    let made = |provider: &str| Call {
        attribution: for_task.clone(),
        provider: provider.into(),
        hour,
        day: kolkata,
        ..call(bench.acme, evening)
    };
    bench.ship(&[made("openai"), made("anthropic"), made("anthropic")]).await;
    let tally = job(&bench).tick().await.unwrap();
    assert_eq!((tally.hours, tally.tasks), (1, 1));
    assert_eq!(completed(&bench).await, [(day, "openai".into(), 1), (next, "anthropic".into(), 1)]);
    bench.ship(&[made("anthropic")]).await;
    assert_eq!(job(&bench).tick().await.unwrap().tasks, 0, "it is counted as it should be");

    // done again on another day, it counts there; failed in the end, nowhere
    end(&bench, tasks[0], Some("openai"), "completed", evening).await;
    job(&bench).tick().await.unwrap();
    assert_eq!(completed(&bench).await, [(next, "anthropic".into(), 1), (next, "openai".into(), 1)]);
    end(&bench, tasks[0], Some("openai"), "failed", evening).await;
    job(&bench).tick().await.unwrap();
    assert_eq!(completed(&bench).await, [(next, "anthropic".into(), 1)]);
}

/// Of a table with very many calls one hour is read, and by the index on tenant and time: how many others there are does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_is_found_by_the_index() {
    const CALLS: i64 = 96_000;
    let bench = Bench::start().await;
    let admin = bench.world.admin().await;
    let midnight = ten() - TimeDelta::hours(10);
    // evenly over two days of both tenants, so that an hour of one has about a fiftieth part of its half
    let fill = format!(
        "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, model, operation, cost_usd, tokens_input, tokens_output, latency_ms, \
             \"timestamp\", hour, day) \
         SELECT gen_random_uuid(), CASE n % 2 WHEN 0 THEN $1::uuid ELSE $2 END, 'openai', 'gpt-4o-mini', 'chat.completions', 0.001, 100, 10, 120, at, \
             date_trunc('hour', at, 'UTC'), (at AT TIME ZONE 'UTC')::date \
         FROM (SELECT n, $3::timestamptz - interval '1 day' + make_interval(secs => n * 172800.0 / {CALLS}) AS at FROM generate_series(0, {CALLS} - 1) n) calls"
    );
    admin.execute(&fill, &[bench.acme.as_uuid(), bench.globex.as_uuid(), &midnight]).await.unwrap();
    admin.batch_execute("VACUUM ANALYZE analytics.provider_api_calls").await.unwrap();
    let end = ten() + TimeDelta::hours(1);
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) {}", store::SUM_HOUR.sql());
    let rows = admin
        .query_typed(
            &explain,
            &[
                (bench.acme.as_uuid(), tokio_postgres::types::Type::UUID),
                (&ten(), tokio_postgres::types::Type::TIMESTAMPTZ),
                (&ten().date_naive(), tokio_postgres::types::Type::DATE),
                (&end, tokio_postgres::types::Type::TIMESTAMPTZ),
            ],
        )
        .await
        .unwrap();
    let plan: String = rows.iter().map(|row| format!("{}\n", row.get::<_, String>(0))).collect();
    assert!(plan.contains("_tenant_id_timestamp_idx") && !plan.contains("Seq Scan on provider_api_calls"), "{plan}");
    // the statement was carried out: the sums are there
    assert_eq!(sums(&bench, "hourly_metrics", bench.acme).await.0, CALLS / 2 / 48, "{plan}");
}
