//! Runs a command beside a throwaway PostgreSQL: `with-postgres [--pgbouncer] -- COMMAND…`.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use tenantry_embedded::{PgBouncer, PgBouncerConfig, Progress, Throwaway, ThrowawayConfig};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the command may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Run a command beside a throwaway PostgreSQL server
///
/// The command finds the superuser's URL in TENANTRY_TEST_DATABASE_URL and the directory of the
/// server's programs in TENANTRY_TEST_PG_BIN. When it ends, the server and its files are removed, and
/// its exit code is ours.
#[derive(Debug, Parser)]
#[command(name = "with-postgres")]
struct Args {
    /// Also start PgBouncer in transaction mode; its URL is in TENANTRY_TEST_PGBOUNCER_URL
    #[arg(long)]
    pgbouncer: bool,
    /// A server setting, as in `--set work_mem=64MB`; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<u8> {
    // Caught from here on, so that an interrupted start is cleaned up, too.
    let mut signals = signals().context("cannot catch signals")?;
    let config =
        ThrowawayConfig { settings: args.settings, progress: Progress::new(say), ..ThrowawayConfig::default() };
    let throwaway = tokio::select! {
        started = Throwaway::start(config) => started?,
        Some(signal) = signals.recv() => return Ok(code_of_signal(signal)),
    };
    let cluster = throwaway.cluster();
    say(&format!("PostgreSQL {} of `{}` on port {}", cluster.version(), cluster.bin_dir().display(), cluster.port()));
    let pooler = match args.pgbouncer {
        true => Some(PgBouncer::start(PgBouncerConfig::in_front_of(cluster)).await?),
        false => None,
    };

    let mut command = Command::new(&args.command[0]);
    command
        .args(&args.command[1..])
        .env("TENANTRY_TEST_DATABASE_URL", cluster.superuser_url("postgres"))
        .env("TENANTRY_TEST_PG_BIN", cluster.bin_dir());
    if let Some(url) = pooler.as_ref().and_then(|pooler| pooler.url_for(cluster.superuser(), "postgres")) {
        command.env("TENANTRY_TEST_PGBOUNCER_URL", url);
    }
    forget_cargo_run(&mut command);
    let outcome = match command.spawn() {
        Ok(child) => Ok(watch(child, &mut signals).await),
        Err(error) => Err(error).with_context(|| format!("cannot run `{}`", args.command[0].display())),
    };
    if let Some(pooler) = pooler {
        pooler.stop().await;
    }
    throwaway.stop().await?;
    outcome
}

/// `cargo run` describes our own package in these variables. To a `cargo test` below they would look like
/// a change of its environment, and it would build some crates again.
fn forget_cargo_run(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
}

/// Waits for the command. Ctrl-C at a terminal reaches the command by itself, as it is in our process
/// group; a signal to us alone does not. So it gets its time, then the signal, then it is killed.
async fn watch(mut child: Child, signals: &mut mpsc::Receiver<Signal>) -> u8 {
    let received = tokio::select! {
        status = child.wait() => return status.map_or(1, code),
        Some(signal) = signals.recv() => signal,
    };
    let grace = if received == Signal::INT { PATIENCE } else { Duration::ZERO };
    for (patience, next) in [(grace, received), (PATIENCE, Signal::KILL)] {
        tokio::select! {
            ended = timeout(patience, child.wait()) => if ended.is_ok() {
                break;
            },
            // A second signal: no more waiting.
            Some(_) = signals.recv() => {}
        }
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, next);
        }
    }
    let _ = child.wait().await;
    code_of_signal(received)
}

fn signals() -> std::io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(4);
    for (kind, number) in [
        (SignalKind::interrupt(), Signal::INT),
        (SignalKind::terminate(), Signal::TERM),
        (SignalKind::hangup(), Signal::HUP),
    ] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(number).await.is_ok() {} });
    }
    Ok(receiver)
}

/// The exit code as a shell would report it.
fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}

fn code_of_signal(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}

fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "with-postgres: {message}");
}
