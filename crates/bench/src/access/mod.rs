//! What tenant-scoped access costs against unscoped access, in a small and a large fleet.

mod fleet;
mod memory;
mod provisioning;
mod reader;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tenantry_postgres::{AccessConfig, AccessStats};

use crate::Options;
use crate::ground::{CELL_CAPACITY, Ground};
use crate::report::{Report, Row};
use crate::stats::{median, median_ratio};

use fleet::{Fleet, Pattern};
use reader::{Plain, Reader};

/// Concurrent clients.
pub(super) const CLIENTS: usize = 8;
const SETTLE: Duration = Duration::from_millis(400);
/// Longer for the pool, whose connections follow the load: nobody's load changes its pattern every two seconds.
const ADAPT: Duration = Duration::from_millis(2500);
const WINDOW: Duration = Duration::from_millis(1500);

/// Before anything is measured every tenant is read from so often, after which PostgreSQL has a plan to keep (the first five uses of
/// a statement are planned anew), and then there are so many reads at random: a server that has run for a while.
const VISITS: usize = 8;
const WARM_UP: f64 = 250_000.0;
const WARM_UP_LIMIT: Duration = Duration::from_secs(40);

const SCOPED: [(Pattern, f64); 4] =
    [(Pattern::Hot, 0.90), (Pattern::Hot64, 0.70), (Pattern::Zipf, 0.60), (Pattern::Uniform, 0.45)];

pub(super) async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("access");
    let mut ground = Ground::start("fleet", options.keep.as_deref()).await?;
    let limits = AccessConfig::default();
    report.fact("server", ground.facts());
    report.fact(
        "connections",
        format!(
            "{CLIENTS} clients; unscoped, naive, pipelined: {CLIENTS}; tenant-scoped: at most {}, {} a cell of {CELL_CAPACITY} tenants, \
             {} a tenant (the defaults)",
            limits.max_connections, limits.cell_connections, limits.tenant_connections
        ),
    );
    for (at, &count) in options.tenants.iter().enumerate() {
        ground.fill(count).await?;
        let largest = at + 1 == options.tenants.len() && !options.reads;
        compare(&ground, count, largest, options.rounds, &mut report).await?;
        if largest {
            provisioning::growth(&ground, count, &mut report).await?;
        }
    }
    ground.finish().await?;
    Ok(report)
}

async fn compare(
    ground: &Ground,
    count: usize,
    largest: bool,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let server = ground.server().await?;
    let fleet = Arc::new(Fleet::load(ground, &server, count).await?);
    let plain = Plain::connect(ground, &fleet).await?;
    eprintln!("bench: {count} tenants, warming up");
    let scoped = |pattern| Reader::scoped(&server.db, &fleet, pattern);
    fleet::visit(&server.db, &fleet, VISITS).await?;
    let (mut reads, began) = (0.0, Instant::now());
    while reads < WARM_UP && began.elapsed() < WARM_UP_LIMIT {
        reads += window::run(&scoped(Pattern::Uniform), Duration::ZERO, Duration::from_secs(1)).await?.rate;
    }

    // In turns, so that the machine's moods hit all of them; unscoped first and again in the middle.
    let mut unscoped = Vec::new();
    let mut rates = [const { Vec::new() }; SCOPED.len()];
    let mut cpu = [const { Vec::new() }; SCOPED.len()];
    let mut affine = [const { Vec::new() }; SCOPED.len()];
    let (mut usual, mut usual_cpu) = ([const { Vec::new() }; 4], [const { Vec::new() }; 4]);
    let before = server.db.stats();
    for round in 1..=rounds {
        eprintln!("bench: {count} tenants, round {round} of {rounds}");
        for (at, (pattern, _)) in SCOPED.iter().enumerate() {
            let base = window::run(&plain.unscoped(), SETTLE, WINDOW).await?;
            let earlier = server.db.stats();
            let pace = window::run(&scoped(*pattern), ADAPT, WINDOW).await?;
            affine[at].push(affinity(earlier, server.db.stats()));
            unscoped.push(base.rate);
            rates[at].push(pace.rate / base.rate);
            cpu[at].push(base.cpu_us / pace.cpu_us);
            let pace = window::run(&plain.usual(at), SETTLE, WINDOW).await?;
            usual[at].push(pace.rate / base.rate);
            usual_cpu[at].push(base.cpu_us / pace.cpu_us);
        }
    }
    let after = server.db.stats();
    let usual = usual.map(|ratios| median(&ratios));
    report.push(Row::higher(format!("unscoped_{count}"), median(&unscoped), "1/s"));
    for (at, (pattern, goal)) in SCOPED.iter().enumerate() {
        let naive = match pattern {
            Pattern::Hot => Some(usual[0]),
            Pattern::Uniform => Some(usual[1]),
            _ => None,
        };
        let row = Row::higher(format!("{}_{count}", pattern.name()), median(&rates[at]), "ratio");
        report.push(row.goal(*goal).baseline(naive));
        report.push(Row::higher(format!("{}_cpu_{count}", pattern.name()), median(&cpu[at]), "ratio"));
        report.push(Row::higher(format!("{}_affine_{count}", pattern.name()), median(&affine[at]), "share"));
    }
    for (at, name) in ["naive_hot", "naive_uniform", "pipelined_hot", "pipelined_uniform"].iter().enumerate() {
        report.push(Row::higher(format!("{name}_{count}"), usual[at], "ratio"));
        report.push(Row::higher(format!("{name}_cpu_{count}"), median(&usual_cpu[at]), "ratio"));
    }
    eprintln!("bench: pool before {before:?}, after {after:?}");
    ensure!(after.discarded == before.discarded, "connections were discarded: {after:?}");
    if largest {
        beside(ground, &server, &fleet, rounds, report).await?;
        memory::measure(ground, &server, &fleet, report).await?;
    }
    server.db.close();
    server.registry.stop();
    Ok(())
}

/// The share of reads that found a connection scoped to their tenant already.
#[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
fn affinity(before: AccessStats, after: AccessStats) -> f64 {
    let (affine, bound) = (after.affine - before.affine, after.bound - before.bound);
    affine as f64 / (affine + bound).max(1) as f64
}

/// The load with and without a creation every second.
async fn beside(
    ground: &Ground,
    server: &crate::ground::Server,
    fleet: &Arc<Fleet>,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let reader = Reader::scoped(&server.db, fleet, Pattern::Zipf);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let span = Duration::from_secs(4);
    for round in 1..=rounds.max(2) {
        eprintln!("bench: provisioning beside the load, round {round}");
        let without_first = round.is_multiple_of(2);
        if without_first {
            without.push(window::run(&reader, SETTLE, span).await?.rate);
        }
        with.push(provisioning::beside(&ground.provisioner, window::run(&reader, SETTLE, span)).await?.rate);
        if !without_first {
            without.push(window::run(&reader, SETTLE, span).await?.rate);
        }
    }
    report.push(Row::higher("provisioning_beside_load", median_ratio(&with, &without), "ratio").goal(0.95));
    Ok(())
}
