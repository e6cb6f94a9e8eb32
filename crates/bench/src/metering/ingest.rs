//! Calls into PostgreSQL: as they are booked, and as plain `COPY` would take them.

use std::time::Instant;

use anyhow::Context as _;
use chrono::Utc;
use futures_util::{SinkExt as _, TryStreamExt as _};
use metering::usage::Usage;
use metering::{Attribution, Call, CostSource, Costed, Decimal, Finish, Kind, Source, UsageSource, bucket};
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use tenantry_postgres::MeterDb;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::Options;
use crate::ground::{Ground, create, slug};
use crate::report::{Report, Row};
use crate::stats::{median, median_ratio};

const TENANTS: usize = 20;
/// As the server ships by default.
const BATCH: usize = 4000;
const BATCHES: usize = 15;
const GOAL: f64 = 0.4;

pub(super) async fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let ground = Ground::start("ingest", None).await?;
    let mut tenants = Vec::new();
    for n in 0..TENANTS {
        tenants.push(create(&ground.provisioner, &slug(n)).await?.tenant.id);
    }
    report.fact("ingest", format!("batches of {BATCH} rows, a commit each, {TENANTS} tenants, one connection"));
    let admin = ground.admin().await?;
    let month = Utc::now().format("%Y_%m");
    admin
        .batch_execute(&format!(
            "CREATE TABLE public.bench_indexed (LIKE analytics.provider_api_calls_{month} INCLUDING ALL); \
             CREATE TABLE public.bench_bare (LIKE analytics.provider_api_calls_{month} INCLUDING DEFAULTS)"
        ))
        .await?;
    let db = MeterDb::new(&ground.config, 1);
    book(&db, &batch(&tenants)).await?;

    let (mut booked, mut indexed, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprintln!("bench: metering, ingest, round {round} of {}", options.rounds);
        admin
            .batch_execute(
                "TRUNCATE analytics.provider_api_calls, analytics.dirty_hours, public.bench_indexed, public.bench_bare",
            )
            .await?;
        let batches: Vec<Vec<Call>> = (0..BATCHES).map(|_| batch(&tenants)).collect();
        let began = Instant::now();
        for calls in &batches {
            book(&db, calls).await?;
        }
        booked.push(rate(began));
        // the same rows, as bytes
        let mut chunks = Vec::new();
        for calls in &batches {
            let (first, last) = (calls.first().context("calls")?.id, calls.last().context("calls")?.id);
            let sql = format!(
                "COPY (SELECT * FROM analytics.provider_api_calls WHERE id BETWEEN '{first}' AND '{last}') TO STDOUT (FORMAT binary)"
            );
            let bytes: Vec<_> = admin.copy_out(&sql).await?.try_collect().await?;
            chunks.push(bytes.concat());
        }
        indexed.push(copy(&admin, "public.bench_indexed", &chunks).await?);
        bare.push(copy(&admin, "public.bench_bare", &chunks).await?);
    }
    report.push(Row::higher("ingest_rate", median(&booked), "1/s").baseline(Some(median(&indexed))));
    report.push(Row::higher("ingest_over_copy", median_ratio(&booked, &indexed), "ratio").goal(GOAL));
    report.push(Row::higher("ingest_over_bare_copy", median_ratio(&booked, &bare), "ratio"));
    drop(admin);
    ground.finish().await
}

async fn book(db: &MeterDb, calls: &[Call]) -> anyhow::Result<()> {
    let tx = db.begin().await?;
    let new = metering::store::book(&tx, calls).await?;
    tx.commit().await?;
    anyhow::ensure!(new.len() == calls.len(), "all calls are new");
    Ok(())
}

async fn copy(admin: &Client, table: &str, chunks: &[Vec<u8>]) -> anyhow::Result<f64> {
    let sql = format!("COPY {table} FROM STDIN (FORMAT binary)");
    let began = Instant::now();
    for chunk in chunks {
        let sink = admin.copy_in::<_, tokio_util::bytes::Bytes>(&sql).await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(chunk.clone().into()).await?;
        let rows = sink.finish().await?;
        anyhow::ensure!(usize::try_from(rows)? == BATCH, "{rows} rows were copied");
    }
    Ok(rate(began))
}

fn rate(began: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let rows = (BATCH * BATCHES) as f64;
    rows / began.elapsed().as_secs_f64()
}

/// Calls as the gateway makes them, of all tenants in turn.
fn batch(tenants: &[TenantId]) -> Vec<Call> {
    let now = Utc::now();
    let (hour, day) = bucket(now, Tz::UTC);
    let call = |n: usize| Call {
        id: Uuid::now_v7(),
        tenant_id: tenants[n % tenants.len()],
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: Uuid::now_v7(),
        attempt: 1,
        source: Source::Gateway,
        attribution: Attribution {
            agent_id: Some(Uuid::from_u128(1 + (n % 10) as u128)),
            api_key_id: Some(Uuid::from_u128(100 + (n % 3) as u128)),
            provider_account_id: Some(Uuid::from_u128(200)),
            task_type: Some("support".to_owned()),
            ..Attribution::default()
        },
        provider: "openai".to_owned(),
        operation: "chat.completions".to_owned(),
        model: "gpt-4o-mini".to_owned(),
        requested_model: Some("gpt-4o-mini".to_owned()),
        service_tier: Some("default".to_owned()),
        usage: Usage { input: 900, output: 120, cache_read: 300, ..Usage::default() },
        usage_source: UsageSource::Reported,
        usage_mismatch: false,
        cost: Costed {
            price_version: Some("openai/gpt-4o-mini@2024-07-18".to_owned()),
            rates: Some(serde_json::json!({ "input": "0.15", "cache_read": "0.075", "output": "0.6" })),
            list_baseline_usd: Some(Decimal::new(21_000_000_000, 12)),
            like_baseline_usd: Some(Decimal::new(3_000_000_000, 12)),
            optimal: Some(true),
            ..Costed::of(Some(Decimal::new(229_500_000, 12)), CostSource::Catalogue)
        },
        latency_ms: 850,
        time_to_first_token_ms: None,
        streamed: false,
        success: true,
        error_message: None,
        finish: Finish::Complete,
        status_code: Some(200),
        provider_request_id: Some(format!("req_{n:032}")),
        timestamp: now,
        hour,
        day,
    };
    (0..BATCH).map(call).collect()
}
