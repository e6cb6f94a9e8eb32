//! The gateway with everything on, beside the same calls without it and through LiteLLM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tenantry::Settings;

use crate::ground::{Ground, slug};
use crate::load::{Answer, Call, Connection, Load, Method, request};
use crate::report::{Report, Row};
use crate::serve::Ours;
use crate::stats::{median, median_ratio};
use crate::{Options, cpu};

use super::litellm::{self, LiteLlm};
use super::upstream::{CREDENTIAL, Upstream};

const TENANTS: usize = 8;
const CLIENTS: usize = 16;
/// A model that the price catalogue has.
const MODEL: &str = "gpt-4o-mini";
const PATH: &str = "/llm/openai/v1/chat/completions";
/// What is promised.
const GOAL_P50_MS: f64 = 0.5;
const GOAL_P99_MS: f64 = 3.0;
const GOAL_PER_CORE: f64 = 20.0;
/// Before anything is measured, in windows.
const WARM_UP: f64 = 2.0;
/// How long calls may take to be rows after the last one.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who is asked, and what.
struct Side {
    address: SocketAddr,
    calls: Vec<Call>,
}

impl Side {
    fn load(&self, seconds: f64) -> Load {
        Load::alike(self.address, CLIENTS, &self.calls).lasting(seconds)
    }
}

pub(super) async fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let upstream = Upstream::start().await?;
    let ground = Ground::start("gateway", None).await?;
    report.fact("server", ground.facts());
    let files = Files::make(options)?;
    let ours = Ours::start(&ground, &files.settings(&ground, upstream.address)).await?;
    let keys = ground.fill_with_keys(TENANTS).await?;
    for key in &keys {
        prepare(ours.address, key).await?;
    }
    let gateway =
        Side { address: ours.address, calls: keys.iter().enumerate().map(|(n, key)| through(n, key)).collect() };
    let direct = Side { address: upstream.address, calls: vec![straight()] };
    report.fact(
        "load",
        format!(
            "a child process, {CLIENTS} kept-alive connections, {TENANTS} tenants with a key, an account and a budget each, {} rounds of {} s",
            options.rounds, options.seconds
        ),
    );

    eprintln!("bench: metering, gateway, warming up");
    let mut made = gateway.load(options.seconds * WARM_UP).run().await?.count;
    direct.load(options.seconds).run().await?;
    let used = || cpu::used(ground.pid());
    let (answers, per_core) = saturate(&gateway, options, used).await?;
    made += answers.iter().map(|answer| answer.count).sum::<usize>();
    let rate = median(&answers.iter().map(|answer| answer.rate).collect::<Vec<_>>());
    let (overhead, through_it) = overhead(&gateway, &direct, rate / 2.0, options).await?;
    made += through_it;
    all_recorded(&ground, made).await?;
    report.fact("recorded", format!("{made} calls, each a row"));

    let theirs = if options.no_litellm { None } else { Some(other(&direct, options, report).await?) };
    let of = |figure: fn(&Theirs) -> f64| theirs.as_ref().map(figure);
    report.push(
        Row::lower("gateway_overhead_p50", overhead.p50_ms, "ms").goal(GOAL_P50_MS).baseline(of(|t| t.overhead.p50_ms)),
    );
    report.push(
        Row::lower("gateway_overhead_p99", overhead.p99_ms, "ms").goal(GOAL_P99_MS).baseline(of(|t| t.overhead.p99_ms)),
    );
    let dir = files.dir.clone();
    let sync = tokio::task::spawn_blocking(move || super::disk::sync_ms(&dir)).await??;
    report.push(Row::lower("bare_sync_p50", sync, "ms"));
    report.push(Row::lower("gateway_p50", overhead.own_p50_ms, "ms").baseline(Some(overhead.direct_p50_ms)));
    report.push(Row::lower("gateway_p99", overhead.own_p99_ms, "ms").baseline(Some(overhead.direct_p99_ms)));
    report.push(Row::higher("gateway_rate", rate, "1/s").baseline(of(|t| t.rate)));
    report.push(Row::higher("gateway_calls_per_core", median(&per_core), "1/s").baseline(of(|t| median(&t.per_core))));
    if let Some(theirs) = &theirs {
        let ratio = median_ratio(&per_core, &theirs.per_core);
        report.push(Row::higher("gateway_per_core_over_litellm", ratio, "ratio").goal(GOAL_PER_CORE));
        report.push(Row::higher("gateway_rate_over_litellm", rate / theirs.rate, "ratio"));
    }
    ours.stop().await?;
    upstream.stop().await?;
    ground.finish().await?;
    files.remove()
}

/// What was found of the other side.
struct Theirs {
    overhead: Overhead,
    rate: f64,
    per_core: Vec<f64>,
}

async fn other(direct: &Side, options: &Options, report: &mut Report) -> anyhow::Result<Theirs> {
    let proxy = LiteLlm::start(direct.address, MODEL, &options.out).await?;
    let pid = proxy.pid().context("LiteLLM runs")?;
    report.fact("litellm", format!("{}, one worker, no database", litellm::version().await?));
    let side = Side { address: proxy.address, calls: vec![litellm::call(MODEL)] };
    eprintln!("bench: metering, LiteLLM, warming up");
    side.load(options.seconds * WARM_UP).run().await?;
    let (answers, per_core) = saturate(&side, options, || cpu::of_tree(pid)).await?;
    let rate = median(&answers.iter().map(|answer| answer.rate).collect::<Vec<_>>());
    let (overhead, _) = overhead(&side, direct, rate / 2.0, options).await?;
    proxy.stop().await?;
    Ok(Theirs { overhead, rate, per_core })
}

/// As fast as it goes: the answers, and calls by seconds of processor time.
async fn saturate(
    side: &Side,
    options: &Options,
    used: impl Fn() -> Duration,
) -> anyhow::Result<(Vec<Answer>, Vec<f64>)> {
    let (mut answers, mut per_core) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprintln!("bench: metering, saturation, round {round} of {}", options.rounds);
        let before = used();
        let answer = side.load(options.seconds).run().await?;
        let seconds = used().saturating_sub(before).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
        per_core.push(answer.count as f64 / seconds.max(0.001));
        answers.push(answer);
    }
    Ok((answers, per_core))
}

/// What a way takes longer than the straight one.
struct Overhead {
    p50_ms: f64,
    p99_ms: f64,
    own_p50_ms: f64,
    direct_p50_ms: f64,
    own_p99_ms: f64,
    direct_p99_ms: f64,
}

/// Both ways at one rate, in turns; with the number of calls of the first.
async fn overhead(side: &Side, direct: &Side, rate: f64, options: &Options) -> anyhow::Result<(Overhead, usize)> {
    let (mut ours, mut straight): (Vec<Answer>, Vec<Answer>) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprintln!("bench: metering, half of saturation, round {round} of {}", options.rounds);
        ours.push(side.load(options.seconds).paced(rate).run().await?);
        straight.push(direct.load(options.seconds).paced(rate).run().await?);
    }
    let middle = |answers: &[Answer], figure: fn(&Answer) -> f64| {
        median(&answers.iter().map(figure).collect::<Vec<_>>()) / 1000.0
    };
    let difference = |figure: fn(&Answer) -> f64| {
        let differences: Vec<f64> =
            ours.iter().zip(&straight).map(|(own, direct)| figure(own) - figure(direct)).collect();
        median(&differences) / 1000.0
    };
    let found = Overhead {
        p50_ms: difference(|answer| answer.p50_us),
        p99_ms: difference(|answer| answer.p99_us),
        own_p50_ms: middle(&ours, |answer| answer.p50_us),
        direct_p50_ms: middle(&straight, |answer| answer.p50_us),
        own_p99_ms: middle(&ours, |answer| answer.p99_us),
        direct_p99_ms: middle(&straight, |answer| answer.p99_us),
    };
    Ok((found, ours.iter().map(|answer| answer.count).sum()))
}

/// A kibibyte, as a short conversation has.
pub(super) fn body(model: &str) -> String {
    let text = "Compare each entry of the ledger with the bank's, list what differs, and say why. ".repeat(11);
    json!({ "model": model, "messages": [{ "role": "user", "content": text.trim_end() }] }).to_string()
}

fn through(n: usize, key: &SecretString) -> Call {
    Call {
        method: Method::Ask,
        path: PATH.to_owned(),
        key: Some(key.expose_secret().to_owned()),
        tenant: Some(slug(n)),
        body: Some(body(MODEL)),
    }
}

fn straight() -> Call {
    Call {
        method: Method::Ask,
        path: "/openai/v1/chat/completions".to_owned(),
        key: Some(CREDENTIAL.to_owned()),
        tenant: None,
        body: Some(body(MODEL)),
    }
}

/// Gives a tenant an account at the upstream, and a budget that is never used up.
async fn prepare(address: SocketAddr, key: &SecretString) -> anyhow::Result<()> {
    let bodies = [
        ("/v1/provider-accounts", json!({ "provider": "openai", "access_token": CREDENTIAL })),
        ("/v1/budgets", json!({ "name": "all", "scope": "tenant", "period": "month", "limit_usd": "1000000" })),
    ];
    for (path, body) in bodies {
        let call = Call {
            method: Method::Post,
            path: path.to_owned(),
            key: Some(key.expose_secret().to_owned()),
            tenant: None,
            body: Some(body.to_string()),
        };
        let asked = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            let unique = uuid::Uuid::new_v4().to_string();
            Connection::open(address)?.send(&request(address, &call, &unique, 0), Method::Post)?;
            Ok(())
        });
        asked.await?.with_context(|| format!("`POST {path}`"))?;
    }
    Ok(())
}

/// Waits until every call is a row, and no more than that.
async fn all_recorded(ground: &Ground, made: usize) -> anyhow::Result<()> {
    let (admin, began) = (ground.admin().await?, Instant::now());
    loop {
        let sql = "SELECT count(*) FROM analytics.provider_api_calls WHERE cost_usd > 0";
        let rows = usize::try_from(admin.query_one(sql, &[]).await?.get::<_, i64>(0))?;
        if rows == made {
            return Ok(());
        }
        ensure!(
            rows < made && began.elapsed() < PATIENCE,
            "{made} calls were made, and {rows} are recorded with a cost"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The server's files.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn make(options: &Options) -> anyhow::Result<Self> {
        let dir = options.out.join("gateway");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        // a key of the benchmark alone, as long as one must be
        std::fs::write(dir.join("master-keys"), "bench AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")?;
        Ok(Self { dir })
    }

    /// The defaults, with the upstream for OpenAI.
    fn settings(&self, ground: &Ground, upstream: SocketAddr) -> Settings {
        let mut settings = Settings { metering: ground.metering(), ..Settings::default() };
        settings.secrets.source = tenantry_secrets::MasterSource::File;
        settings.secrets.file = Some(self.dir.join("master-keys"));
        settings.metering.gateway.allow_http = true;
        settings.metering.gateway.upstreams.insert("openai".to_owned(), format!("http://{upstream}/openai/v1"));
        settings
    }

    fn remove(self) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.dir)?)
    }
}
