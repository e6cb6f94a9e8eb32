//! How fast it is. Not part of the suite: `cargo test -p metering --release --test pipeline -- --ignored --nocapture measure`.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a measurement of small numbers"
)]

use std::time::{Duration, Instant};

use chrono::Utc;
use metering::ship::Shipping;
use metering::store::book;
use metering::{Call, Decimal};
use tenantry_postgres::MeterDb;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::stage::{Stage, at, empty, unsettled};

const BATCH: usize = 4000;

fn calls(count: u128) -> Vec<Call> {
    let now = Utc::now();
    (0..count).map(|n| at(n % 20, "0.000123", now - chrono::TimeDelta::seconds((n % 7200) as i64))).collect()
}

/// The same rows with as many columns, by one COPY a batch and nothing else.
async fn plain_copy(stage: &Stage, calls: &[Call]) -> Duration {
    let columns = "tenant_id, id, \"timestamp\", kind, prices_call, operation_id, attempt, source, agent_id, api_key_id, provider, operation, model, \
                   tokens_input, tokens_output, usage, usage_source, usage_mismatch, cost_usd, cost_source, rates, latency_ms, \
                   time_to_first_token_ms, streamed, success, finish, status_code, provider_request_id, hour, day";
    let types = [
        Type::UUID,
        Type::UUID,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::BOOL,
        Type::UUID,
        Type::INT2,
        Type::TEXT,
        Type::UUID,
        Type::UUID,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::JSONB,
        Type::TEXT,
        Type::BOOL,
        Type::NUMERIC,
        Type::TEXT,
        Type::JSONB,
        Type::INT4,
        Type::INT4,
        Type::BOOL,
        Type::BOOL,
        Type::TEXT,
        Type::INT2,
        Type::TEXT,
        Type::TIMESTAMPTZ,
        Type::DATE,
    ];
    let begun = Instant::now();
    for part in calls.chunks(BATCH) {
        let sink = stage
            .admin
            .copy_in(&format!("COPY analytics.provider_api_calls ({columns}) FROM STDIN (FORMAT binary)"))
            .await
            .unwrap();
        let writer = BinaryCopyInWriter::new(sink, &types);
        tokio::pin!(writer);
        for c in part {
            let (input, output) = (c.usage.input as i64, c.usage.output as i64);
            let (usage, cost): (_, Option<Decimal>) = (serde_json::to_value(&c.usage).unwrap(), c.cost.cost_usd);
            writer
                .as_mut()
                .write(&[
                    c.tenant_id.as_uuid(),
                    &c.id,
                    &c.timestamp,
                    &c.kind.as_str(),
                    &c.prices_call,
                    &c.operation_id,
                    &c.attempt,
                    &c.source.as_str(),
                    &c.attribution.agent_id,
                    &c.attribution.api_key_id,
                    &c.provider,
                    &c.operation,
                    &c.model,
                    &input,
                    &output,
                    &usage,
                    &c.usage_source.as_str(),
                    &c.usage_mismatch,
                    &cost,
                    &c.cost.cost_source.as_str(),
                    &c.cost.rates,
                    &c.latency_ms,
                    &c.time_to_first_token_ms,
                    &c.streamed,
                    &c.success,
                    &c.finish.as_str(),
                    &c.status_code,
                    &c.provider_request_id,
                    &c.hour,
                    &c.day,
                ])
                .await
                .unwrap();
        }
        writer.finish().await.unwrap();
    }
    begun.elapsed()
}

async fn booking(stage: &Stage, calls: &[Call]) -> Duration {
    let db = MeterDb::new(&stage.database.config, 1);
    let begun = Instant::now();
    for part in calls.chunks(BATCH) {
        let tx = db.begin().await.unwrap();
        assert_eq!(book(&tx, part).await.unwrap().len(), part.len());
        tx.commit().await.unwrap();
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_booking_against_plain_copy() {
    let rate = |took: Duration| 40_000.0 / took.as_secs_f64();
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let plain = plain_copy(&Stage::new().await, &calls(40_000)).await;
        let booked = booking(&Stage::new().await, &calls(40_000)).await;
        println!(
            "plain COPY {:.0}/s, booked {:.0}/s, ratio {:.2}",
            rate(plain),
            rate(booked),
            rate(booked) / rate(plain)
        );
        ratios.push(rate(booked) / rate(plain));
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_the_spool() {
    let stage = Stage::new().await;
    let settings = metering::MeteringSettings { spool_segment_bytes: 16 << 20, ..stage.settings() };
    let metering =
        metering::Metering::start(&stage.database.config, &settings, std::sync::Arc::new(tenantry_core::SystemClock))
            .unwrap();
    let one = at(1, "0.000123", Utc::now());
    let begun = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(serde_json::to_vec(&one).unwrap());
    }
    println!("encoding {:?}, {} bytes", begun.elapsed() / 10_000, serde_json::to_vec(&one).unwrap().len());
    let text = serde_json::to_vec(&one).unwrap();
    let begun = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(serde_json::from_slice::<Call>(&text).unwrap());
    }
    println!("decoding {:?}", begun.elapsed() / 10_000);
    metering.spool.intend(&unsettled(&one, "1")).await.unwrap();
    for parallel in [1_u128, 8, 64] {
        let mut tasks = tokio::task::JoinSet::new();
        let begun = Instant::now();
        for n in 0..parallel {
            let metering = metering.clone();
            tasks.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..4000 / parallel {
                    let call = at(n, "0.000123", Utc::now());
                    let begun = Instant::now();
                    metering.spool.intend(&call).await.unwrap();
                    times.push(begun.elapsed());
                    let begun = Instant::now();
                    metering.spool.settle(&call).await.unwrap();
                    times.push(begun.elapsed());
                }
                times
            });
        }
        let mut times: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        times.sort();
        let p = |share: f64| times[(times.len() as f64 * share) as usize];
        println!("{parallel} at a time: {rate:.0} records/s, p50 {:?}, p99 {:?}", p(0.5), p(0.99));
    }
    metering.spool.settle(&one).await.unwrap();
    let waiting = metering.health().records;
    let begun = Instant::now();
    let shipping = Shipping::start(&metering, &settings).unwrap();
    empty(&metering).await;
    println!("shipped {waiting} in {:?}", begun.elapsed());
    shipping.stop(Duration::from_secs(5)).await;
}
