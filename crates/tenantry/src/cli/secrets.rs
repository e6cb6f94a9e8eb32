//! `tenantry secrets …`: the keys that tenants' secrets are kept under.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::json;
use tenantry::Settings;
use tenantry_core::{Slug, SystemClock};
use tenantry_postgres::{Actor, DatabaseConfig, Registry, RegistryConfig, TenantDb, TenantFilter};
use tenantry_secrets::{
    KeyRing, MasterSource, Secrets, SecretsConfig, SecretsError, VARIABLE, is_master_key_id, new_key_line,
};

use super::output::time;
use super::{CliError, Global, LocalRun, Output, output, say, write_private};

const LINE: Duration = Duration::from_secs(1);
const PAGE: i64 = 200;
const REASON: &str = "rotation of data keys";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum SecretsCommand {
    /// Print a new master key as a line for the file of keys, the variable or the secret that holds them
    NewKey {
        /// The key's id; the present month unless given, such as `2026-01`
        #[arg(long)]
        id: Option<String>,
    },
    /// Show which master keys are in use
    Status,
    /// Change keys without downtime: the master key (unless asked otherwise) or tenants' data keys
    ///
    /// Both rotations can be interrupted and continued. Servers read old and new all the while. A master key may be taken
    /// away when `secrets status` shows no data key under it.
    Rotate {
        /// Wrap all data keys that another master key wraps with the current one
        #[arg(long)]
        master: bool,
        /// Give tenants new data keys and seal what they keep anew
        #[arg(long)]
        data_keys: bool,
        /// Only this tenant
        #[arg(long, value_name = "SLUG")]
        tenant: Option<Slug>,
        /// With `--data-keys`: leave data keys that are newer, as an interrupted run has made
        #[arg(long, value_name = "TIME", requires = "data_keys")]
        created_before: Option<DateTime<Utc>>,
    },
}

impl Global {
    /// A file or variable that is given chooses itself unless the settings choose.
    pub(super) fn name_master_keys(&self, secrets: &mut SecretsConfig) {
        if self.master_key_file.is_some() {
            secrets.file.clone_from(&self.master_key_file);
        }
        if secrets.source == MasterSource::None {
            if secrets.file.is_some() {
                secrets.source = MasterSource::File;
            } else if std::env::var_os(VARIABLE).is_some() {
                secrets.source = MasterSource::Environment;
            }
        }
    }

    /// Where this command's master keys are: a local `tenantry dev` has its own unless the settings say so.
    pub(super) fn master_keys(&self, settings: &Settings) -> SecretsConfig {
        let mut config = settings.secrets.clone();
        let local = LocalRun::master_key_file(&self.data_dir);
        if config.source == MasterSource::None && settings.database_url.is_none() && local.exists() {
            (config.source, config.file) = (MasterSource::File, Some(local));
        }
        config
    }

    /// The keys of this command's database.
    async fn secrets(&self, settings: &Settings, database: &DatabaseConfig) -> Result<Secrets, CliError> {
        let secrets = Secrets::start(database, &self.master_keys(settings), Arc::new(SystemClock)).await;
        let secrets = secrets.map_err(|error| CliError::usage(error.to_string()))?;
        if secrets.is_configured() {
            return Ok(secrets);
        }
        Err(CliError::usage("no master key is configured")
            .hint("set `[secrets]`, or name a file with `--master-key-file`; `tenantry secrets new-key` makes a key"))
    }
}

/// The master key of a `tenantry dev`, made once. Settings that name one are left alone.
pub(crate) fn ensure_master_key(data_dir: &Path, secrets: &mut SecretsConfig) -> Result<(), CliError> {
    if secrets.source != MasterSource::None {
        return Ok(());
    }
    let file = LocalRun::master_key_file(data_dir);
    if !file.exists() {
        write_private(&file, &format!("{}\n", *new_key_line("dev")))?;
    }
    (secrets.source, secrets.file) = (MasterSource::File, Some(file));
    Ok(())
}

pub(super) async fn run(command: SecretsCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    match command {
        SecretsCommand::NewKey { id } => new_key(id),
        SecretsCommand::Status => status(global, settings).await,
        SecretsCommand::Rotate { master, data_keys, tenant, created_before } => {
            if master || !data_keys {
                rotate_master(tenant.as_ref(), global, settings).await?;
            }
            if data_keys {
                rotate_data_keys(tenant.as_ref(), created_before, global, settings).await?;
            }
            Ok(())
        }
    }
}

fn new_key(id: Option<String>) -> Result<(), CliError> {
    let id = id.unwrap_or_else(|| Utc::now().format("%Y-%m").to_string());
    if !is_master_key_id(&id) {
        return Err(CliError::usage(format!("`{id}` cannot be the id of a master key"))
            .hint("1 to 63 of `a-z`, `0-9`, `_`, `.` and `-`, beginning with a letter or digit"));
    }
    let line = new_key_line(&id);
    debug_assert!(KeyRing::parse(&line).is_ok());
    output::print(&line)
}

async fn status(global: &Global, settings: &Settings) -> Result<(), CliError> {
    let database = global.database(settings)?;
    let status = global.secrets(settings, &database).await?.status().await?;
    if global.output == Output::Json {
        return output::json(&status);
    }
    output::list(global.output, &status.master_keys, &["master key", "data keys", "retired"], |used| {
        let mark = if used.master_key_id == status.current_master_key { " (current)" } else { "" };
        vec![format!("{}{mark}", used.master_key_id), used.data_keys.to_string(), used.retired.to_string()]
    })?;
    if status.to_rewrap > 0 {
        say(format!(
            "{} data keys are not under `{}`: `tenantry secrets rotate` wraps them anew",
            status.to_rewrap, status.current_master_key
        ));
    }
    Ok(())
}

async fn rotate_master(tenant: Option<&Slug>, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let database = global.database(settings)?;
    let secrets = global.secrets(settings, &database).await?;
    let id = match tenant {
        Some(slug) => Some(global.provisioner(settings)?.show(slug.as_str()).await?.id),
        None => None,
    };
    let mut told = Instant::now();
    let done = secrets
        .rewrap(id, &Actor::cli(), |progress| {
            if told.elapsed() >= LINE {
                say(format!("{} of {} data keys, {} failed", progress.rewrapped, progress.total, progress.failed));
                told = Instant::now();
            }
        })
        .await?;
    if global.output == Output::Json {
        output::json(&done)?;
    } else {
        output::print(&format!("{} data keys wrapped anew with `{}`", done.rewrapped, done.master_key_id))?;
    }
    for failed in done.failed.iter().take(20) {
        say(format!("tenant {} version {}: {}", failed.tenant_id, failed.version, failed.reason));
    }
    if !done.failed.is_empty() {
        return Err(CliError::some_failed(format!("{} data keys stay under the key that they had", done.failed.len())));
    }
    Ok(())
}

/// What became of one run.
#[derive(Debug, Default)]
struct Tally {
    rotated: u64,
    resealed: u64,
    without: u64,
    failed: u64,
}

async fn rotate_data_keys(
    tenant: Option<&Slug>,
    created_before: Option<DateTime<Utc>>,
    global: &Global,
    settings: &Settings,
) -> Result<(), CliError> {
    let database = global.database(settings)?;
    let secrets = global.secrets(settings, &database).await?;
    let before = created_before.unwrap_or_else(Utc::now);
    if tenant.is_none() {
        say(format!("if this is interrupted, continue with `--created-before {}`", before.to_rfc3339()));
    }
    let clock = Arc::new(SystemClock);
    let config = RegistryConfig { needs_version: workforce::tenant_schema().needs, ..settings.registry.clone() };
    let registry = Registry::start(&database, &config, clock);
    let db = TenantDb::new(database, settings.access.clone(), registry.clone());
    let work = Work { secrets, registry, db, before };
    let mut tally = Tally::default();
    let mut told = Instant::now();
    if let Some(slug) = tenant {
        work.one(slug, &mut tally).await;
    } else {
        let provisioner = global.provisioner(settings)?;
        let mut filter =
            TenantFilter { status: Some(tenantry_core::TenantStatus::Active), limit: PAGE, ..TenantFilter::default() };
        loop {
            let page = provisioner.list(&filter).await?;
            let Some(last) = page.last() else { break };
            filter.after = Some(last.slug.to_string());
            for row in &page {
                work.one(&row.slug, &mut tally).await;
                if told.elapsed() >= LINE {
                    say(format!("{} tenants rotated, at `{}`", tally.rotated, row.slug));
                    told = Instant::now();
                }
            }
        }
    }
    let text = format!(
        "{} tenants have a new data key, {} values were sealed anew, {} tenants keep no secrets",
        tally.rotated, tally.resealed, tally.without
    );
    if global.output == Output::Json {
        let done = json!({ "rotated": tally.rotated, "resealed": tally.resealed, "without": tally.without,
            "failed": tally.failed, "created_before": time(before) });
        output::json(&done)?;
    } else {
        output::print(&text)?;
    }
    if tally.failed > 0 {
        return Err(CliError::some_failed(format!("{} tenants failed, and keep what they had", tally.failed)));
    }
    Ok(())
}

struct Work {
    secrets: Secrets,
    registry: Registry,
    db: TenantDb,
    before: DateTime<Utc>,
}

impl Work {
    async fn one(&self, slug: &Slug, tally: &mut Tally) {
        if let Err(error) = self.try_one(slug, tally).await {
            tally.failed += 1;
            say(format!("`{slug}`: {error}"));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an operator rotates the keys of every tenant")]
    async fn try_one(&self, slug: &Slug, tally: &mut Tally) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let context = self.registry.system_context(slug, REASON).await?;
        let Some(made_at) = self.secrets.data_key_made_at(&context).await? else {
            tally.without += 1;
            return Ok(());
        };
        if made_at < self.before {
            self.secrets.rotate_data_key(&context).await?;
            tally.rotated += 1;
        }
        tally.resealed += workforce::store::sealed::reseal(&self.db, &self.secrets, &context).await?;
        tally.resealed += metering::store::budgets::reseal(&self.db, &self.secrets, &context).await?;
        Ok(())
    }
}

impl From<SecretsError> for CliError {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::Database(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}
