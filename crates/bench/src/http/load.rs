//! The load: a child process that keeps connections busy with requests, one at a time each.
//!
//! It is a thread for each connection around a blocking socket and checks status and length of every answer, so that it takes as
//! little of the shared cores as it can.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use crate::stats::percentile;

/// A request to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) key: Option<String>,
}

/// What the child is told. It comes over standard input, because a command line is for everybody to see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    address: SocketAddr,
    connections: usize,
    seconds: f64,
    calls: Vec<Call>,
}

/// What the child found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Microseconds that all but one in a hundred took at most.
    pub(crate) p99_us: f64,
}

impl Load {
    pub(crate) const fn new(address: SocketAddr, connections: usize, calls: Vec<Call>) -> Self {
        Self { address, connections, seconds: 1.0, calls }
    }

    pub(crate) const fn lasting(mut self, seconds: f64) -> Self {
        self.seconds = seconds;
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
    let requests: Vec<Vec<u8>> = load.calls.iter().map(|call| request(load.address, call)).collect();
    let end = Duration::from_secs_f64(load.seconds);
    let results: Vec<anyhow::Result<(usize, f64, Vec<f64>)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections)
            .map(|n| {
                let requests = &requests;
                scope.spawn(move || keep_busy(load.address, requests, n * 7, end))
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
    println!("{}", serde_json::to_string(&Answer { rate, p99_us: percentile(&times, 0.99) })?);
    Ok(())
}

fn request(address: SocketAddr, call: &Call) -> Vec<u8> {
    let key = call.key.as_ref().map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
    format!("GET {} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\n{key}\r\n", call.path).into_bytes()
}

fn keep_busy(
    address: SocketAddr,
    requests: &[Vec<u8>],
    offset: usize,
    end: Duration,
) -> anyhow::Result<(usize, f64, Vec<f64>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let (mut times, mut buffer) = (Vec::with_capacity(100_000), vec![0; 16 * 1024]);
    let began = Instant::now();
    for request in requests.iter().cycle().skip(offset) {
        let sent = Instant::now();
        stream.write_all(request)?;
        read_answer(&mut stream, &mut buffer)?;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
        if began.elapsed() >= end {
            break;
        }
    }
    Ok((times.len(), began.elapsed().as_secs_f64(), times))
}

/// Reads one answer, which must be a 200 with a length.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..])?;
        ensure!(n > 0, "the server closed a connection");
        filled += n;
        let Some(head) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?;
        ensure!(text.starts_with("HTTP/1.1 200"), "not a 200: {}", text.lines().next().unwrap_or_default());
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let whole = head + 4 + length.context("an answer without a length")?;
        ensure!(whole <= buffer.len(), "an answer of {whole} bytes");
        if filled < whole {
            continue;
        }
        ensure!(filled == whole, "more than one answer");
        return Ok(());
    }
}
