//! The other side: `crates/bench/peer-node`, in a database of its own on the same server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::SchemaName;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio_postgres::Config;

use crate::ground::{Ground, connect, slug};

use super::rows;

const DATABASE: &str = "node";
const REGISTRY: &str = include_str!("../../peer-node/registry.sql");
const TABLES: &str = include_str!("../../peer-node/schema.sql");
/// Connections of each tenant's pool, in each process.
pub(super) const POOL: usize = 2;
/// A process's connections to the registry.
pub(super) const REGISTRY_POOL: usize = 10;
const START: Duration = Duration::from_secs(30);

/// A way to run it.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) processes: usize,
    /// How long a tenant is remembered; 0: the registry is asked in each request.
    cache_ms: u32,
    /// Keeps with a change what we keep: a counted quota, an audit event and a published one.
    pub(super) audited: bool,
}

impl Variant {
    /// As the design sketched it; the same with changes that are audited; with several processes; and with tenants remembered as well.
    pub(super) fn all(workers: usize) -> Vec<Self> {
        let sketched = || Self { name: "node".to_owned(), processes: 1, cache_ms: 0, audited: false };
        let mut all = vec![sketched(), Self { name: "node_audited".to_owned(), audited: true, ..sketched() }];
        if workers > 1 {
            let several = |suffix: &str, cache_ms| Self {
                name: format!("node_{workers}{suffix}"),
                processes: workers,
                cache_ms,
                ..sketched()
            };
            all.extend([several("", 0), several("_cached", 1000)]);
        }
        all
    }

    pub(super) fn facts(&self) -> String {
        let lookup = match self.cache_ms {
            0 => "the registry asked in each request".to_owned(),
            ms => format!("tenants remembered for {ms} ms"),
        };
        let changes =
            if self.audited { ", quota, chained audit event and published event with each change" } else { "" };
        let processes = if self.processes == 1 { "process" } else { "processes" };
        format!("{} is {} {processes}, {lookup}{changes}", self.name, self.processes)
    }
}

/// Node with the packages that `scripts/setup` installed.
pub(super) struct Node {
    modules: PathBuf,
    url: Config,
}

impl Node {
    /// Makes the database anew, with the tenants of `keys` and their rows.
    pub(super) async fn prepare(ground: &Ground, keys: &[SecretString]) -> anyhow::Result<Self> {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-node/node_modules");
        ensure!(modules.exists(), "`{}` is missing: `scripts/setup bench-api` makes it", modules.display());
        let admin = ground.admin().await?;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
        let url = ground.superuser_url(DATABASE);
        let client = connect(&url).await?;
        client.batch_execute(REGISTRY).await?;
        let insert = "INSERT INTO public.tenants (slug, schema_name, plan_tier, admin_email, api_key_hash) \
                      VALUES ($1, $2, 'enterprise', $3, encode(sha256(convert_to($4, 'UTF8')), 'hex'))";
        for (n, key) in keys.iter().enumerate() {
            let slug = slug(n);
            let schema = SchemaName::for_slug(&slug.parse()?);
            let email = format!("admin@{slug}.example");
            client.execute(insert, &[&slug, &schema.as_str(), &email, &key.expose_secret()]).await?;
            let quoted = tenantry_core::quote_identifier(schema.as_str());
            let tables = TABLES.replace("tenant.", &format!("{quoted}."));
            client.batch_execute(&format!("CREATE SCHEMA {quoted}; {tables} {}", rows(schema.as_str(), &slug))).await?;
        }
        client.batch_execute("VACUUM ANALYZE").await?;
        Ok(Self { modules, url: url.parse()? })
    }

    pub(super) async fn versions(&self) -> anyhow::Result<String> {
        let output = self.command().arg("--versions").stderr(Stdio::inherit()).output().await;
        let output = output.context("cannot start `node`")?;
        ensure!(output.status.success(), "`node` failed: {}", output.status);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts a server that logs into `dir`.
    pub(super) async fn serve(&self, variant: &Variant, dir: &Path) -> anyhow::Result<Serving> {
        let log = dir.join(format!("{}.log", variant.name));
        let log = std::fs::File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let password = String::from_utf8_lossy(self.url.get_password().unwrap_or_default()).into_owned();
        let mut child = self
            .command()
            .env("PEER_WORKERS", variant.processes.to_string())
            .env("PEER_TENANT_CACHE_MS", variant.cache_ms.to_string())
            .env("PEER_AUDITED", if variant.audited { "1" } else { "0" })
            .env("PEER_POOL_MAX", POOL.to_string())
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.url.get_ports().first().copied().unwrap_or(5432).to_string())
            .env("PGUSER", self.url.get_user().unwrap_or_default())
            .env("PGPASSWORD", password)
            .env("PGDATABASE", DATABASE)
            .env("PGAPPNAME", &variant.name)
            .stdout(log)
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `node`")?;
        let mut said = BufReader::new(child.stderr.take().context("the child has an error output")?).lines();
        let port = tokio::time::timeout(START, port(&mut said)).await;
        let port = port.with_context(|| format!("{} does not listen after {START:?}", variant.name))??;
        let name = variant.name.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = said.next_line().await {
                eprintln!("bench: {name}: {line}");
            }
        });
        Ok(Serving { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("node");
        command
            .arg("server.js")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peer-node"))
            .env("NODE_ENV", "production")
            .env("NODE_PATH", &self.modules)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// The port it says to serve on.
async fn port(said: &mut Lines<BufReader<ChildStderr>>) -> anyhow::Result<u16> {
    let mut before = String::new();
    while let Some(line) = said.next_line().await? {
        if let Some(port) = line.strip_prefix("listening on ") {
            return Ok(port.parse()?);
        }
        before += &line;
        before += "\n";
    }
    bail!("`node` ended: {before}")
}

/// A running server.
pub(super) struct Serving {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Serving {
    /// Its workers end with it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
