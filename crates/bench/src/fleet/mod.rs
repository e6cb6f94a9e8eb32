//! What it takes to migrate, compare and extend a whole fleet, and what django-tenants takes for the same.

mod creation;
mod peer;
mod readers;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tenantry_postgres::migrate::{
    Drift, Event, Events, Fleet, MigrationSet, Options as RunOptions, Outcome, Report as Ran, Scope,
};
use tenantry_postgres::{Actor, TenantSchema};

use crate::Options;
use crate::ground::Ground;
use crate::report::{Report, Row};
use crate::stats::{median, percentile};

use peer::Peer;
use readers::{READERS, Readers};

const UP: &str = include_str!("../../fleet/bench.sql");
const DOWN: &str = include_str!("../../fleet/bench.down.sql");

/// How often what takes a moment is measured.
const SHORT: usize = 5;
const WARM_UP: Duration = Duration::from_secs(10);
const BEFORE: Duration = Duration::from_secs(10);
/// Connections of `tenantry migrate drift`, the default.
const DRIFT_JOBS: usize = 2;

pub(super) async fn measure(options: &Options) -> anyhow::Result<Report> {
    let count = options.tenants.iter().copied().max().unwrap_or(10_000);
    let mut report = Report::new("fleet");
    let began = Instant::now();
    let mut ground = Ground::start("fleet", options.keep.as_deref()).await?;
    let before = workforce::tenant_schema();
    let after = with_bench(&before)?;
    let fleet = Fleet::new(&ground.config, after.migrations.clone());
    ensure_at(&fleet, before.version).await?;
    ground.fill(count).await?;
    // The server's port is another one after the filling.
    let fleet = Fleet::new(&ground.config, after.migrations.clone());
    let filled = began.elapsed();
    let peer = match options.peer_tenants {
        0 => None,
        tenants => Some(Peer::start(&ground, tenants).await?),
    };

    eprintln!("bench: creating tenants");
    let created = creation::measure(&ground).await?;
    let all = tenants(&ground).await?;
    report.fact("server", ground.facts());
    report.fact(
        "fleet",
        format!(
            "{all} tenants of {} tables, {} rows in the table that is changed, each in a schema with a role; made in {} s",
            workforce::TENANT_TABLES.len(),
            crate::ground::AGENTS,
            filled.as_secs()
        ),
    );
    report.fact(
        "runs",
        format!(
            "{} jobs, waves, ledger, locks and time limits as by default; commits of single tenants do not wait for the disk, the end of a run does; \
             the migrations (a column and an index) are read from a directory",
            run_options().jobs
        ),
    );
    let mut theirs = Theirs::default();
    if let Some(peer) = &peer {
        report.fact("django-tenants", peer.versions().await?);
        report.fact(
            "its schema",
            "the same ten tables, columns, foreign keys and indexes; without checks, policies, roles and grants; superuser, own database",
        );
        theirs.creations = peer.create().await?;
    }

    // Each side's runs are between the other's, so that the machine's moods hit both.
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    ups.push(run(&fleet, after.version, all).await?);
    ensure_changed(&ground, all).await?;
    let noop = noop(&fleet).await?;
    let status = status(&fleet, after.version, all).await?;
    let drift = drift(&ground, &after, all, &mut report).await?;
    if let Some(peer) = &peer {
        theirs.standard = peer.migrate("standard").await?;
        theirs.noop = peer.count() / peer.migrate("standard").await?;
    }
    downs.push(run(&fleet, before.version, all).await?);
    if let Some(peer) = &peer {
        theirs.revert = peer.revert().await?;
        theirs.multiprocessing = peer.migrate("multiprocessing").await?;
    }
    ups.push(run(&fleet, after.version, all).await?);
    downs.push(run(&fleet, before.version, all).await?);

    let server = ground.server().await?;
    let readers = Readers::new(&server, count)?;
    eprintln!("bench: {READERS} readers warm up");
    readers.beside(tokio::time::sleep(WARM_UP)).await?;
    let ((), calm) = readers.beside(tokio::time::sleep(BEFORE)).await?;
    let (busy_rate, busy) = readers.beside(run(&fleet, after.version, all)).await?;
    let busy_rate = busy_rate?;
    server.db.close();
    server.registry.stop();
    for failure in calm.failures().iter().chain(busy.failures()).take(10) {
        eprintln!("bench: a read failed: {failure}");
    }
    if options.keep.is_some() {
        run(&fleet, before.version, all).await?;
    }
    report.fact(
        "readers",
        format!(
            "{READERS} without a pause, uniform over {count} tenants; {} reads in {} s before, {} during the run",
            calm.requests(),
            BEFORE.as_secs(),
            busy.requests()
        ),
    );

    let up = median(&ups);
    let known = |value: f64| (value > 0.0).then_some(value);
    report.push(Row::higher(format!("up_{count}"), up, "1/s").baseline(known(theirs.standard)));
    report.push(Row::higher(format!("down_{count}"), median(&downs), "1/s").baseline(known(theirs.revert)));
    let their_noop = known(theirs.noop).zip(peer.as_ref()).map(|(seconds, peer)| seconds / peer.count() * f64_of(all));
    report.push(Row::lower(format!("noop_up_{count}"), noop, "s").goal(1.0).baseline(their_noop));
    report.push(Row::lower(format!("status_{count}"), status, "s"));
    report.push(Row::lower(format!("drift_{count}"), drift, "s").goal(60.0));
    let (cold, warm) = (median(&created.cold), median(&created.warm));
    let their_create = known(median(&theirs.creations));
    report.push(Row::lower("create_cold_p50", cold, "ms").baseline(their_create));
    report.push(Row::lower("create_cold_p99", percentile(&created.cold, 0.99), "ms"));
    report.push(Row::lower("create_warm_p50", warm, "ms").goal(5.0).baseline(their_create));
    report.push(Row::lower("create_warm_p99", percentile(&created.warm, 0.99), "ms"));
    if let Some(their_create) = their_create {
        report.push(Row::higher("up_over_standard", up / theirs.standard, "ratio").goal(60.0));
        report.push(Row::higher("up_over_multiprocessing", up / theirs.multiprocessing, "ratio").goal(40.0));
        report.push(Row::higher("create_warm_over_theirs", their_create / warm, "ratio").goal(25.0));
        report.push(Row::higher("create_cold_over_theirs", their_create / cold, "ratio"));
        report.push(Row::higher("their_up_standard", theirs.standard, "1/s"));
        report.push(Row::higher("their_up_multiprocessing", theirs.multiprocessing, "1/s"));
        report.push(Row::lower("their_create_p50", their_create, "ms"));
    }
    report.push(Row::higher("up_beside_readers", busy_rate, "1/s").baseline(Some(up)));
    report.push(Row::higher("reads_during_up", busy.rate(), "1/s").baseline(Some(calm.rate())));
    report.push(Row::lower("reads_p50_during_up", busy.percentile(0.5), "ms").baseline(Some(calm.percentile(0.5))));
    report.push(Row::lower("reads_p99_during_up", busy.percentile(0.99), "ms").baseline(Some(calm.percentile(0.99))));
    report.push(Row::lower("reads_failed", f64_of(calm.failures().len() + busy.failures().len()), "").goal(0.0));
    ground.finish().await?;
    Ok(report)
}

/// Of django-tenants: tenants a second, seconds, and milliseconds of creations. Zero where it was left out.
#[derive(Default)]
struct Theirs {
    standard: f64,
    multiprocessing: f64,
    revert: f64,
    noop: f64,
    creations: Vec<f64>,
}

/// The domain's migrations and one more, read from a directory as an operator's are.
fn with_bench(schema: &TenantSchema) -> anyhow::Result<TenantSchema> {
    let directory = std::env::temp_dir().join(format!("tenantry-bench-{}-migrations", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let read = write_and_read(&directory, schema.version + 1);
    std::fs::remove_dir_all(&directory)?;
    Ok(TenantSchema::replaying(read?, workforce::TENANT_TABLES).with_append_only(workforce::APPEND_ONLY_TABLES))
}

fn write_and_read(directory: &Path, version: i32) -> anyhow::Result<MigrationSet> {
    let own = [(format!("{version:04}_bench.sql"), UP), (format!("{version:04}_bench.down.sql"), DOWN)];
    let domain = workforce::MIGRATIONS.iter().map(|(name, text)| ((*name).to_owned(), *text));
    for (name, text) in domain.chain(own) {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(MigrationSet::read(Scope::Tenant, directory)?)
}

fn run_options() -> RunOptions {
    RunOptions::new(Actor::system("benchmark"))
}

/// A kept cluster is where the last benchmark has left it, also one that was killed.
async fn ensure_at(fleet: &Fleet, version: i32) -> anyhow::Result<()> {
    if fleet.status().await?.versions.iter().any(|at| at.version != version) {
        fleet.up(&run_options(), &Events::none()).await?;
        fleet.down(version, &run_options(), &Events::none()).await?;
    }
    Ok(())
}

/// Brings all tenants to a version that none has yet; in tenants a second.
async fn run(fleet: &Fleet, version: i32, all: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    let events = Events::to(|event| match event {
        Event::Failed(failure) => eprintln!("bench: `{}` failed: {}", failure.slug, failure.error),
        Event::Retry { slug, error, .. } => eprintln!("bench: `{slug}` is tried again: {error}"),
        _ => {}
    });
    let up = version == fleet.set().latest();
    let ran = if up {
        fleet.up(&run_options(), &events).await?
    } else {
        fleet.down(version, &run_options(), &events).await?
    };
    let took = began.elapsed();
    let Ran { outcome, migrated, .. } = ran;
    ensure!(outcome == Outcome::Done && migrated == all, "{migrated} of {all} tenants were migrated: {outcome:?}");
    let rate = f64_of(all) / took.as_secs_f64();
    eprintln!(
        "bench: {} to version {version}: {all} tenants in {took:.1?}, {rate:.0} a second",
        if up { "up" } else { "down" }
    );
    Ok(rate)
}

/// Counts in the catalog what the migration has made.
async fn ensure_changed(ground: &Ground, all: usize) -> anyhow::Result<()> {
    let sql = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = 'agents_by_budget' AND i.indisvalid";
    let changed: i64 = ground.admin().await?.query_one(sql, &[]).await?.get(0);
    ensure!(usize::try_from(changed)? == all, "{changed} of {all} tenants have the index");
    Ok(())
}

async fn noop(fleet: &Fleet) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..SHORT {
        let began = Instant::now();
        let ran = fleet.up(&run_options(), &Events::none()).await?;
        times.push(began.elapsed().as_secs_f64());
        ensure!(ran.outcome == Outcome::Nothing, "there was something to do: {:?}", ran.outcome);
    }
    Ok(median(&times))
}

async fn status(fleet: &Fleet, version: i32, all: usize) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..SHORT {
        let began = Instant::now();
        let status = fleet.status().await?;
        times.push(began.elapsed().as_secs_f64());
        let there: i64 = status.versions.iter().filter(|at| at.version == version).map(|at| at.tenants).sum();
        ensure!(usize::try_from(there)? == all, "{there} of {all} tenants are at version {version}");
    }
    Ok(median(&times))
}

/// Compares every tenant's catalog with the baseline's.
async fn drift(ground: &Ground, schema: &TenantSchema, all: usize, report: &mut Report) -> anyhow::Result<f64> {
    eprintln!("bench: drift");
    let began = Instant::now();
    let found = Drift::new(&ground.config, schema.clone()).run(&[], DRIFT_JOBS, &|_| {}).await?;
    let took = began.elapsed().as_secs_f64();
    ensure!(found.checked == all, "{} of {all} tenants were compared", found.checked);
    if let Some(first) = found.tenants.first() {
        anyhow::bail!("{} tenants differ; `{}`: {:?}", found.tenants.len(), first.slug, first.differences);
    }
    for difference in &found.installation {
        eprintln!("bench: the installation differs: {}", difference.text);
    }
    report.fact(
        "drift",
        format!("{all} tenants compared on {DRIFT_JOBS} connections, none differs; {:.0} a second", f64_of(all) / took),
    );
    Ok(took)
}

async fn tenants(ground: &Ground) -> anyhow::Result<usize> {
    let count: i64 =
        ground.admin().await?.query_one("SELECT count(*) FROM public.tenant_placements", &[]).await?.get(0);
    Ok(usize::try_from(count)?)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below the limit")]
fn f64_of(count: usize) -> f64 {
    count as f64
}
