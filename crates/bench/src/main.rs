//! Benchmarks: each prints a table and writes `target/bench/NAME.json`.
//!
//! ```text
//! make bench                                      access, http and revocation, about a quarter of an hour
//! make bench ARGS='access --tenants 1000'         one of them, on a smaller fleet
//! make bench ARGS='access --keep /var/tmp/fleet'  keeps the filled cluster for the next run
//! make bench-fleet                                the fleet, with 10,000 tenants
//! make bench-fleet ARGS='--tenants 1000'          the same with fewer
//! make bench-api                                  the API beside Express, about a quarter of an hour
//! make bench-api ARGS='--rounds 1 --seconds 1'    a glance at the same
//! make bench-metering                             the gateway beside LiteLLM, ingest, and ten million calls
//! make bench-metering ARGS='--calls 100000'       the same with fewer
//! ```
//!
//! # How to read the figures
//!
//! No figure is a time to compare with another machine's. Each is a *ratio* of two things measured in the same run, on the
//! same server, in turns: every round measures each mode once, a mode's figure is the median of its rounds, so noise of the
//! machine hits both sides. Load generator, program and PostgreSQL share the machine's cores, so work saved anywhere
//! shows. A ratio of 0.9 means: nine tenant-scoped reads in the time of ten unscoped ones.
//!
//! A row of the JSON has `name`, `value`, `unit`, `higher_is_better`, `goal` (what the project promises, or null) and
//! `baseline` (the same figure for the usual way without this project, or null).
//!
//! # `access`: what scoping costs
//!
//! One agent read by id, 8 concurrent clients, in a fleet that the real provisioner made (ten tables, a role and grants for
//! each tenant, ten agents each). *Unscoped* is the best that a single-tenant program could do: each client has a
//! connection of its own and a statement prepared on it, and reads one fixed table as superuser, without any pool.
//! The scoped modes send the same statement through [`tenantry_postgres::TenantDb::single`] with a verified context and the
//! product's default limits:
//!
//! Every pattern runs for 2.5 s before it is counted, in which connections move to where the load is.
//!
//! * `hot`: every client stays with one tenant of its own;
//! * `hot64`: every read is for one of 64 tenants;
//! * `zipf`: over all tenants, the n-th most popular 1/n as often as the first;
//! * `uniform`: over all tenants alike, which no connection can remember.
//!
//! `naive` is what is usually done instead: `BEGIN`, `SET LOCAL ROLE`, `SET LOCAL search_path`, the prepared query and `COMMIT`, one after
//! the other; `pipelined` sends the same at once. Both have 8 connections of a superuser, who pays nothing for
//! memberships, and serve as `baseline`.
//!
//! The rows with `_cpu_` compare processor time for a read (program and server together, the unscoped read's over the other's) in the
//! place of reads a second. They are there for machines that do other things meanwhile.
//!
//! The rows with `_affine_` say for which share of the reads the connection was scoped to the tenant already.
//!
//! `provisioning_beside_load` is the zipf load while a tenant is created every second, over the same load without.
//! `provisioning_growth` is the p50 of creating a tenant in the full fleet over that in an empty cluster, in turns and
//! with `fsync` on in both. `backend_memory` is the largest `Anonymous` of `/proc/PID/smaps_rollup` among the pool's backends
//! after a statement that opens all ten tables has run for every tenant.
//!
//! # `http`: what a request costs
//!
//! `GET /v1/agents/{id}` through the complete router (API key, context, limits, access log as JSON into a file) over a bare axum
//! handler with one prepared unscoped query on 8 connections of its own. Both are served by the same loop in this process; the
//! load comes from a child process over 8 kept-alive connections, for 8 tenants in turn.
//!
//! # `revocation`: how long a suspended tenant is served
//!
//! Two servers on one database keep reading for a tenant that a third party suspends. Measured from before the suspension is
//! asked for to the first refusal, each server in each round; then the same while the servers do not hear of changes, with
//! entries as fresh as can be. `suspending` is what the suspension itself took, which is contained in the figures above.
//!
//! # `fleet`: what it takes to migrate all tenants
//!
//! A fleet as above, on which the migration engine makes what `crates/bench/fleet/` says (a column and an index) with its defaults, and
//! takes it back. Beside it `crates/bench/peer/` is a project of django-tenants with the same tables and its own, smaller fleet on
//! the same server; its rates are by tenant. Runs of both sides take turns. `up` and `down` are tenants a second, from the call to
//! the commit that has everything on disk. `noop_up` is a run that finds nothing to do; its `baseline` is django-tenants' time for
//! one tenant times the size of the fleet. Creations are one after the other: `cold` makes the schema, `warm` claims one that waits.
//! The rows with `reads` are what 8 clients without a pause meet during a run; `baseline` is what they met just before.
//!
//! # `api`: what the API does beside the same in Node
//!
//! List (the default page of 50), read, update and create of agents and of tasks, by 8 clients over 100 tenants, with everything on:
//! key, permissions, context, limits and quotas, audit, events, access log, and an idempotency key with every POST. Beside it
//! `crates/bench/peer-node/` does the same with Express and `pg`, one pool per tenant, in a database of its own on the same server
//! with the same rows and indexes; what it does not do is written in its `server.js`. Both get the same bytes from the same child
//! process, and before anything is measured each answer must have the same members on all sides.
//!
//! `OPERATION_rate`, `_p50` and `_p99` have Node's figure as `baseline`, `OPERATION_over_node` is the quotient of the rates, side by side in
//! each round. `_over_node_N` is the same with N processes of Node (`--node-workers`), one for each core unless given; `_over_node_N_cached` lets
//! these remember a tenant for a second instead of asking the registry in each request, in which a suspended tenant is still served.
//! Commits are on disk on all sides: `bare_commits` is what the same clients reach that do nothing but commit, and bounds the rates of changes.
//!
//! # `metering`: what it costs to count every call, and what it costs to ask
//!
//! `gateway`: a chat completion of a kibibyte through `/llm/openai/v1/chat/completions` with everything on (key, context, limits, a monthly budget,
//! the spool with fsync, pricing, shipping to PostgreSQL), over the same request to the same upstream, a process of its own that answers at once.
//! *Saturation* is what 16 clients reach that send as fast as they can. The overheads are the difference of the percentiles at half of it: both sides get
//! the same requests at the same times. Beside it the LiteLLM proxy, one worker, without a database and hence without keys of its own, budgets or
//! records; its overhead is taken at half of its own saturation. `calls_per_core` is calls by seconds of processor time: ours of server and PostgreSQL, LiteLLM's of its
//! processes. A call is twice on the disk before its answer has ended; `bare_sync_p50` is what that takes once, with nothing else. After the load each call must be a row: the run fails when one is missing.
//!
//! `ingest`: calls a second that are booked (rows, counters, marks, repetitions found) in batches of 4,000, over plain `COPY` of the same rows, ready as
//! bytes, into a table with the same columns and indexes, with as many commits. `ingest_over_bare_copy` is over a table without indexes.
//!
//! `month`: ten million calls of a month, made in the database, of 20 tenants, of which the largest has a fifth; sums made by the metering. `month_page_p95` is the cost summary and
//! the daily usage by model of the largest tenant over HTTP, one request at a time; `dirty_hour` is its largest hour, made anew.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]
#![expect(clippy::disallowed_methods, reason = "access is measured without authentication")]

mod access;
mod access_log;
mod api;
mod cpu;
mod fleet;
mod ground;
mod http;
mod load;
mod metering;
mod report;
mod revocation;
mod serve;
mod stats;

use std::path::PathBuf;

use clap::Parser;

/// Measures what the README claims, as ratios within one run.
#[derive(Debug, Parser)]
#[command(about, version)]
struct Options {
    /// What to measure; everything when nothing is named.
    #[arg(value_enum)]
    names: Vec<Name>,
    /// Sizes of the fleet for `access`, ascending; `fleet` takes the largest.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    tenants: Vec<usize>,
    /// Keeps the filled cluster in this directory, and uses the one that is there.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Only reads: leaves provisioning and memory out of `access`.
    #[arg(long)]
    reads: bool,
    /// Tenants of django-tenants in `fleet`; 0 leaves it out.
    #[arg(long, default_value_t = 200)]
    peer_tenants: usize,
    /// Processes of Node in the second comparison of `api`, as many as there are cores unless given; 1 leaves that out.
    #[arg(long, default_value_t = cores())]
    node_workers: usize,
    /// Seconds of each window of `api` and `metering`.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Calls that `metering` makes its page of.
    #[arg(long, default_value_t = 10_000_000)]
    calls: u32,
    /// Leaves LiteLLM out of `metering`.
    #[arg(long)]
    no_litellm: bool,
    /// Operations of `api`, such as `tasks_read,tasks_create`, or parts of `metering` (`gateway`, `ingest`, `month`); all unless given.
    #[arg(long, value_delimiter = ',')]
    operations: Vec<String>,
    /// Where the figures go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Generates HTTP load as told on standard input; how the program calls itself.
    #[arg(long, hide = true)]
    load: bool,
}

impl Options {
    fn wants(&self, operation: &str) -> bool {
        self.operations.is_empty() || self.operations.iter().any(|name| name == operation)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    Access,
    Api,
    Fleet,
    Http,
    Metering,
    Revocation,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.load {
        return load::run();
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(options))
}

async fn measure(options: Options) -> anyhow::Result<()> {
    let all = [Name::Access, Name::Http, Name::Revocation, Name::Fleet, Name::Api, Name::Metering];
    let names = if options.names.is_empty() { &all[..] } else { &options.names };
    for name in names {
        let began = std::time::Instant::now();
        let report = match name {
            Name::Access => Box::pin(access::measure(&options)).await?,
            Name::Api => Box::pin(api::measure(&options)).await?,
            Name::Fleet => Box::pin(fleet::measure(&options)).await?,
            Name::Http => Box::pin(http::measure(&options)).await?,
            Name::Metering => Box::pin(metering::measure(&options)).await?,
            Name::Revocation => Box::pin(revocation::measure()).await?,
        };
        report.publish(&options.out)?;
        println!("  took {} s\n", began.elapsed().as_secs());
    }
    Ok(())
}
