//! The same work by django-tenants: `crates/bench/peer`, in a database of its own on the same server.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use tokio::process::Command;
use tokio_postgres::Config;

use crate::ground::Ground;

const DATABASE: &str = "peer";

/// Processes of the multiprocessing executor: its default, and one for each core of a small machine.
const PROCESSES: &str = "2";

pub(super) struct Peer {
    python: PathBuf,
    url: Config,
    tenants: usize,
}

impl Peer {
    /// Makes the database anew.
    pub(super) async fn start(ground: &Ground, tenants: usize) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join("target/bench-peer/bin/python");
        ensure!(python.exists(), "`{}` is missing: `scripts/setup bench-fleet` makes it", python.display());
        let admin = ground.admin().await?;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
        Ok(Self { python, url: ground.superuser_url(DATABASE).parse()?, tenants })
    }

    pub(super) async fn versions(&self) -> anyhow::Result<String> {
        let versions = self.run(&["versions"], "after").await?;
        Ok(format!(
            "{}, {} tenants, executors standard and multiprocessing ({PROCESSES} processes), every commit on disk as by default",
            versions.trim(),
            self.tenants
        ))
    }

    /// Creates the tenants at the first migration; milliseconds of each.
    pub(super) async fn create(&self) -> anyhow::Result<Vec<f64>> {
        let times: Vec<f64> = self.json(&["create", &self.tenants.to_string()], "before").await?;
        Ok(times.iter().map(|seconds| seconds * 1000.0).collect())
    }

    /// Brings all tenants to the latest migration; in tenants a second.
    pub(super) async fn migrate(&self, executor: &str) -> anyhow::Result<f64> {
        let (seconds, migrated): (f64, usize) = self.json(&["migrate", executor], "after").await?;
        ensure!(migrated == self.tenants, "{migrated} of {} tenants were migrated", self.tenants);
        Ok(self.count() / seconds)
    }

    /// Back to the first migration.
    pub(super) async fn revert(&self) -> anyhow::Result<f64> {
        let (seconds, migrated): (f64, usize) = self.json(&["revert", "multiprocessing"], "after").await?;
        ensure!(migrated == 0, "{migrated} tenants were not reverted");
        Ok(self.count() / seconds)
    }

    pub(super) fn count(&self) -> f64 {
        f64::from(u32::try_from(self.tenants).unwrap_or(u32::MAX))
    }

    async fn json<T: DeserializeOwned>(&self, args: &[&str], stage: &str) -> anyhow::Result<T> {
        let printed = self.run(args, stage).await?;
        let last = printed.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("`{last}` is no answer to {args:?}"))
    }

    async fn run(&self, args: &[&str], stage: &str) -> anyhow::Result<String> {
        eprintln!("bench: django-tenants: {}", args.join(" "));
        let password = String::from_utf8_lossy(self.url.get_password().unwrap_or_default()).into_owned();
        let output = Command::new(&self.python)
            .arg("peer.py")
            .args(args)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peer"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONWARNINGS", "ignore")
            .env("PEER_STAGE", stage)
            .env("PEER_PROCESSES", PROCESSES)
            .env("PEER_DATABASE", DATABASE)
            .env("PEER_HOST", "127.0.0.1")
            .env("PEER_PORT", self.url.get_ports().first().copied().unwrap_or(5432).to_string())
            .env("PEER_USER", self.url.get_user().unwrap_or_default())
            .env("PEER_PASSWORD", password)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!("django-tenants failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
