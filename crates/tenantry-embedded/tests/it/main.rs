//! Real servers, started, killed and started again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod cluster;
mod faults;
mod pgbouncer;
mod places;
mod redis;
mod with_postgres;

use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tenantry_embedded::{ClusterConfig, Progress};
use tokio_postgres::{Client, NoTls};

/// A directory that other accounts can pass through, as a user's project directory is.
fn open_dir() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new()
        .prefix("tenantry-it-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap()
}

/// A small cluster that does not wait for disks.
fn small(dir: impl AsRef<Path>) -> ClusterConfig {
    ClusterConfig { durable: false, ..ClusterConfig::new(dir) }
        .setting("max_connections", "20")
        .setting("shared_buffers", "16MB")
}

/// Keeps what a start reports.
fn listen(config: &mut ClusterConfig) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    config.progress = Progress::new(move |message| ear.lock().unwrap().push(message.to_owned()));
    heard
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a process exists and has not merely to be collected.
fn is_alive(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}
