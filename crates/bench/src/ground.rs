//! What is measured on: a cluster of our own with a provisioned fleet in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use secrecy::SecretString;
use tenantry_core::SystemClock;
use tenantry_embedded::{Cluster, ClusterConfig, Progress, StopMode};
use tenantry_postgres::{
    AccessConfig, Actor, ClusterSecret, CreatedTenant, DatabaseConfig, NewTenant, Provisioner, Registry,
    RegistryConfig, TenantDb, initialise,
};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// Tenants of a cell, the product's default.
pub(crate) const CELL_CAPACITY: u16 = 200;
/// Agents of every tenant.
pub(crate) const AGENTS: usize = 10;
const SETTINGS: &[(&str, &str)] =
    &[("shared_buffers", "1GB"), ("max_locks_per_transaction", "256"), ("max_wal_size", "4GB")];
/// Connections of the server, where a benchmark does not need more.
const CONNECTIONS: usize = 200;
const SECRET: &str = "a secret of the benchmarks, for throwaway clusters only";

/// Names `n`-th agent; every tenant's have the same ids, each in its own table.
pub(crate) fn agent_id(n: usize) -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + n as u128)
}

pub(crate) fn slug(n: usize) -> String {
    format!("bench-{n:05}")
}

/// A cluster, the database in it and the product's parts on it.
pub(crate) struct Ground {
    cluster: Cluster,
    dir: PathBuf,
    keep: bool,
    connections: usize,
    pub(crate) config: DatabaseConfig,
    pub(crate) provisioner: Provisioner,
}

/// A server's inside.
pub(crate) struct Server {
    pub(crate) registry: Registry,
    pub(crate) db: TenantDb,
}

impl Ground {
    /// How servers on it meter: their spools go with the cluster.
    pub(crate) fn metering(&self) -> metering::MeteringSettings {
        metering::MeteringSettings { spool_dir: Some(self.dir.join("spool")), ..metering::MeteringSettings::default() }
    }

    /// Starts a cluster that loses nothing in a crash, made anew unless it is to be kept and is there.
    pub(crate) async fn start(name: &str, keep: Option<&Path>) -> anyhow::Result<Self> {
        Self::with_connections(name, keep, CONNECTIONS).await
    }

    /// The same for so many connections.
    pub(crate) async fn with_connections(name: &str, keep: Option<&Path>, connections: usize) -> anyhow::Result<Self> {
        let dir = match keep {
            Some(dir) => dir.to_owned(),
            None => std::env::temp_dir().join(format!("tenantry-bench-{}-{name}", std::process::id())),
        };
        let cluster = launch(&dir, connections).await?;
        let admin = connect(&cluster.superuser_url("postgres")).await?;
        if admin.query("SELECT 1 FROM pg_database WHERE datname = 'bench'", &[]).await?.is_empty() {
            admin.batch_execute("CREATE DATABASE bench").await?;
        }
        let config = database(&cluster)?;
        initialise(&cluster.superuser_url("bench"), &config).await?;
        let provisioner = Provisioner::new(&config, workforce::tenant_schema(), CELL_CAPACITY);
        Ok(Self { cluster, dir, keep: keep.is_some(), connections, config, provisioner })
    }

    /// What to tell about the server.
    pub(crate) fn facts(&self) -> String {
        let settings: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "{}, durable (fsync and synchronous_commit on), max_connections={}, {}",
            self.cluster.version(),
            self.connections,
            settings.join(", ")
        )
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.cluster.pid()
    }

    pub(crate) async fn admin(&self) -> anyhow::Result<Client> {
        connect(&self.cluster.superuser_url("bench")).await
    }

    pub(crate) fn superuser_url(&self, database: &str) -> String {
        self.cluster.superuser_url(database)
    }

    /// A server with the product's defaults.
    pub(crate) async fn server(&self) -> anyhow::Result<Server> {
        let registry = Registry::start(&self.config, &RegistryConfig::default(), Arc::new(SystemClock));
        ensure!(registry.wait_until_listening(Duration::from_secs(10)).await, "the registry does not hear its changes");
        let db = TenantDb::new(self.config.clone(), AccessConfig::default(), registry.clone());
        Ok(Server { registry, db })
    }

    /// Creates tenants until there are `count`, each with its agents. Nothing is flushed to disk meanwhile; afterwards
    /// everything is.
    pub(crate) async fn fill(&mut self, count: usize) -> anyhow::Result<()> {
        let have = self.filled().await?;
        if have >= count {
            return Ok(());
        }
        self.reopen(false).await?;
        let began = Instant::now();
        let done = AtomicUsize::new(0);
        let provisioner = &self.provisioner;
        let client = &self.admin().await?;
        stream::iter(have..count)
            .map(|n| {
                let done = &done;
                async move {
                    let slug = slug(n);
                    let schema = create(provisioner, &slug).await?.tenant.schema_name;
                    client.batch_execute(&agents(&schema, &slug)).await?;
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(500) || have + done == count {
                        let rate = done * 1000 / usize::try_from(began.elapsed().as_millis())?.max(1);
                        eprintln!("bench: {} of {count} tenants, {rate} a second", have + done);
                    }
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(4)
            .try_collect::<Vec<()>>()
            .await?;
        client.batch_execute("ANALYZE pg_catalog.pg_class, pg_catalog.pg_attribute, pg_catalog.pg_authid").await?;
        self.reopen(true).await
    }

    /// The same for a few, with the tenants' API keys.
    pub(crate) async fn fill_with_keys(&self, count: usize) -> anyhow::Result<Vec<SecretString>> {
        let client = self.admin().await?;
        let mut keys = Vec::new();
        for slug in (0..count).map(slug) {
            let created = create(&self.provisioner, &slug).await?;
            client.batch_execute(&agents(&created.tenant.schema_name, &slug)).await?;
            keys.push(created.key.token);
        }
        Ok(keys)
    }

    async fn filled(&self) -> anyhow::Result<usize> {
        let sql = "SELECT count(*) FROM public.tenants WHERE slug LIKE 'bench-%'";
        let count: i64 = self.admin().await?.query_one(sql, &[]).await?.get(0);
        Ok(usize::try_from(count)?)
    }

    /// Starts the server again, durable or not.
    pub(crate) async fn reopen(&mut self, durable: bool) -> anyhow::Result<()> {
        self.cluster.halt(StopMode::Fast).await?;
        if durable {
            // what was written without fsync reaches the disk now and not in the middle of what is measured
            tokio::process::Command::new("sync").status().await?;
        }
        self.cluster.set_durable(durable);
        self.cluster.resume().await?;
        self.config = database(&self.cluster)?;
        self.provisioner = Provisioner::new(&self.config, workforce::tenant_schema(), CELL_CAPACITY);
        Ok(())
    }

    /// Stops the server and removes its files, unless they are to be kept.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let mode = if self.keep { StopMode::Fast } else { StopMode::Immediate };
        let pgdata = self.cluster.pgdata();
        self.cluster.stop(mode).await?;
        if !self.keep {
            let home = pgdata.parent().unwrap_or(&pgdata);
            for dir in [home, self.dir.as_path()] {
                if dir.exists() {
                    std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
                }
            }
        }
        Ok(())
    }
}

/// Creates a tenant on the plan without limits.
pub(crate) async fn create(provisioner: &Provisioner, slug: &str) -> anyhow::Result<CreatedTenant> {
    let new = NewTenant {
        slug: slug.parse()?,
        admin_email: format!("admin@{slug}.example"),
        plan_tier: "enterprise".into(),
        allowed_domains: Vec::new(),
        dedicated: false,
    };
    Ok(provisioner.create(&new, &Actor::system("benchmark")).await?)
}

/// The statement that gives a tenant its agents. The slug in their names tells whose a row is.
fn agents(schema: &str, slug: &str) -> String {
    let values: Vec<String> = (0..AGENTS)
        .map(|n| format!("('{}', '{slug} {n}', 'analyst', 'Careful and brief.', '[\"read\"]')", agent_id(n)))
        .collect();
    let schema = tenantry_core::quote_identifier(schema);
    format!(
        "INSERT INTO {schema}.agents (id, name, role, personality_prompt, capabilities) VALUES {}",
        values.join(", ")
    )
}

async fn launch(dir: &Path, connections: usize) -> anyhow::Result<Cluster> {
    let mut config = ClusterConfig::new(dir);
    config.durable = true;
    config.stop_timeout = Duration::from_secs(300);
    config.start_timeout = Duration::from_secs(600);
    config.progress = Progress::new(|message| eprintln!("bench: {message}"));
    config = config.setting("max_connections", connections.to_string());
    for (name, value) in SETTINGS {
        config = config.setting(*name, *value);
    }
    Ok(Cluster::start(config).await?)
}

fn database(cluster: &Cluster) -> anyhow::Result<DatabaseConfig> {
    let secret = ClusterSecret::new(SECRET.to_owned().into()).map_err(anyhow::Error::msg)?;
    Ok(DatabaseConfig::new(&format!("{}?sslmode=disable", cluster.superuser_url("bench")), secret)?)
}

pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
