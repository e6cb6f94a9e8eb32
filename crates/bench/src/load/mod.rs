//! The load: a child process that keeps connections busy with requests, one at a time each.
//!
//! It is a thread for each connection around a blocking socket and checks status and length of every answer, so that it takes as
//! little of the shared cores as it can.

mod wire;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use crate::stats::percentile;

pub(crate) use wire::{Connection, request};

/// A request to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    /// For `X-Tenant-Slug`.
    pub(crate) tenant: Option<String>,
    /// JSON. `{unique}` stands for a text that no other request has; `{version}` for the present version of the record at the
    /// path, which only one connection may change: it is read before the clock starts and counted from then on.
    pub(crate) body: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    #[default]
    Get,
    Patch,
    /// With an `Idempotency-Key`.
    Post,
    /// A `POST` that makes nothing of its own: answered with 200, repeated at will.
    Ask,
}

/// What the child is told. It comes over standard input, because a command line is for everybody to see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    address: SocketAddr,
    seconds: f64,
    /// Requests a second of all connections together; as fast as they can unless given.
    #[serde(default)]
    pace: Option<f64>,
    /// What each connection asks, over and over.
    connections: Vec<Vec<Call>>,
}

/// What the child found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Microseconds that half took at most.
    pub(crate) p50_us: f64,
    /// Microseconds that all but one in twenty took at most.
    pub(crate) p95_us: f64,
    /// Microseconds that all but one in a hundred took at most.
    pub(crate) p99_us: f64,
    /// Requests.
    pub(crate) count: usize,
}

impl Load {
    pub(crate) const fn new(address: SocketAddr, connections: Vec<Vec<Call>>) -> Self {
        Self { address, seconds: 1.0, pace: None, connections }
    }

    /// The same calls on so many connections, which begin at different ones.
    pub(crate) fn alike(address: SocketAddr, connections: usize, calls: &[Call]) -> Self {
        let from = |n: usize| {
            let (before, after) = calls.split_at(n * 7 % calls.len().max(1));
            [after, before].concat()
        };
        Self::new(address, (0..connections).map(from).collect())
    }

    pub(crate) const fn lasting(mut self, seconds: f64) -> Self {
        self.seconds = seconds;
        self
    }

    /// So many requests a second, at fixed times: one that is late because the one before it was slow counts from when it was to be sent.
    pub(crate) const fn paced(mut self, rate: f64) -> Self {
        self.pace = Some(rate);
        self
    }

    /// Runs the child.
    pub(crate) async fn run(self) -> anyhow::Result<Answer> {
        let mut child = tokio::process::Command::new(std::env::current_exe()?)
            .arg("--load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the load generator")?;
        let mut input = child.stdin.take().context("the child has an input")?;
        input.write_all(&serde_json::to_vec(&self)?).await?;
        drop(input);
        let output = child.wait_with_output().await?;
        ensure!(output.status.success(), "the load generator failed: {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The child's work.
pub(crate) fn run() -> anyhow::Result<()> {
    let load: Load = serde_json::from_reader(std::io::stdin())?;
    let end = Duration::from_secs_f64(load.seconds);
    #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
    let between = load.pace.map(|rate| Duration::from_secs_f64(load.connections.len() as f64 / rate));
    let start = Barrier::new(load.connections.len());
    let results: Vec<anyhow::Result<(usize, f64, Vec<f64>)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = load
            .connections
            .iter()
            .enumerate()
            .map(|(n, calls)| {
                let start = &start;
                // The connections' turns are spread over the time between two of one.
                let first = between.map(|between| between.mul_f64(share(n, load.connections.len())));
                let times = Times { end, first: first.unwrap_or_default(), between };
                scope.spawn(move || keep_busy(load.address, calls, start, times))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| bail!("a connection's thread panicked"))).collect()
    });
    let (mut rate, mut times) = (0.0, Vec::new());
    for result in results {
        let (count, seconds, mut own) = result?;
        #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
        let count = count as f64;
        rate += count / seconds;
        times.append(&mut own);
    }
    let answer = Answer {
        rate,
        p50_us: percentile(&times, 0.5),
        p95_us: percentile(&times, 0.95),
        p99_us: percentile(&times, 0.99),
        count: times.len(),
    };
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// When a connection sends.
#[derive(Debug, Clone, Copy)]
struct Times {
    end: Duration,
    first: Duration,
    /// From one request to the next, however long its answer takes.
    between: Option<Duration>,
}

impl Times {
    /// Waits for the time of the `n`-th request, and gives the moment that it counts from.
    fn wait(&self, began: Instant, n: u32) -> Instant {
        let Some(between) = self.between else { return Instant::now() };
        let due = began + self.first + between * n;
        match due.checked_duration_since(Instant::now()) {
            Some(rest) if !rest.is_zero() => {
                std::thread::sleep(rest);
                Instant::now()
            }
            _ => due,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of connections")]
fn share(n: usize, of: usize) -> f64 {
    n as f64 / of as f64
}

fn keep_busy(
    address: SocketAddr,
    calls: &[Call],
    start: &Barrier,
    schedule: Times,
) -> anyhow::Result<(usize, f64, Vec<f64>)> {
    let prepared = prepare(address, calls);
    // Whoever failed is waited for as well, or the others would wait for ever.
    start.wait();
    let (mut connection, mut versions) = prepared?;
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let mut times = Vec::with_capacity(100_000);
    let began = Instant::now();
    for (n, at) in (0_u32..).zip((0..calls.len()).cycle()) {
        let request = request(address, &calls[at], &format!("{unique}-{n}"), versions[at]);
        let sent = schedule.wait(began, n);
        connection.send(&request, calls[at].method)?;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
        versions[at] += 1;
        if began.elapsed() >= schedule.end {
            break;
        }
    }
    Ok((times.len(), began.elapsed().as_secs_f64(), times))
}

/// Connects, and reads the versions of the records that are to be changed.
fn prepare(address: SocketAddr, calls: &[Call]) -> anyhow::Result<(Connection, Vec<i64>)> {
    let mut connection = Connection::open(address)?;
    let mut versions = Vec::with_capacity(calls.len());
    for call in calls {
        versions.push(if call.method == Method::Patch { version(&mut connection, address, call)? } else { 0 });
    }
    Ok((connection, versions))
}

/// The present version of the record that a call changes.
pub(crate) fn version(connection: &mut Connection, address: SocketAddr, call: &Call) -> anyhow::Result<i64> {
    let read = Call { method: Method::Get, body: None, ..call.clone() };
    let record: serde_json::Value =
        serde_json::from_slice(connection.send(&request(address, &read, "", 0), Method::Get)?)?;
    record["version"].as_i64().with_context(|| format!("`{}` has no version", call.path))
}
