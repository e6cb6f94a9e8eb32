//! Which database a command works on: the one it names, or that of a local `tenantry dev`.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tenantry::Settings;
use tenantry_postgres::{DatabaseConfig, Provisioner};

use super::{CliError, Global, read_or_create_secret, secret::read_secret, write_private};

/// What `tenantry dev` leaves in its directory for other commands and for its own next start.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LocalRun {
    /// Without credentials.
    pub(crate) database_url: String,
    /// Where HTTP is served.
    pub(crate) base_url: String,
    /// The demo tenants' keys, by slug.
    pub(crate) keys: std::collections::BTreeMap<String, String>,
    /// The demo operator's token.
    pub(crate) operator: Option<String>,
}

impl LocalRun {
    fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("dev.json")
    }

    /// The file of the directory, if there is a whole one.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(Self::file(data_dir)).ok()?).ok()
    }

    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| CliError::failed(error.to_string()))?;
        write_private(&Self::file(data_dir), &text)
    }

    /// Where the directory's secret is.
    pub(crate) fn secret_file(data_dir: &Path) -> PathBuf {
        data_dir.join("secret")
    }

    /// Where the directory's master keys are.
    pub(crate) fn master_key_file(data_dir: &Path) -> PathBuf {
        data_dir.join("master-keys")
    }
}

impl Global {
    /// Where calls are kept until the database has them, unless the settings say so.
    pub(crate) fn choose_spool(&self, settings: &mut Settings) {
        settings.metering.spool_dir.get_or_insert_with(|| self.data_dir.join("spool"));
    }

    /// The database of this command.
    pub(super) fn database(&self, settings: &Settings) -> Result<DatabaseConfig, CliError> {
        if let Some(url) = &settings.database_url {
            return configure(url, settings.pooler_url.as_deref(), read_secret(settings)?);
        }
        let local = LocalRun::read(&self.data_dir).ok_or_else(|| {
            CliError::usage("no database is named")
                .hint("pass `--database-url` (or DATABASE_URL), or start `tenantry dev` in this directory first")
        })?;
        let (secret, _) = read_or_create_secret(&LocalRun::secret_file(&self.data_dir))?;
        configure(&local.database_url, None, secret)
    }

    /// What changes the fleet, on the database of this command.
    pub(super) fn provisioner(&self, settings: &Settings) -> Result<Provisioner, CliError> {
        let database = self.database(settings)?;
        Ok(Provisioner::new(&database, workforce::tenant_schema(), settings.cell_capacity)
            .with_grace(TimeDelta::days(settings.grace_days.into())))
    }
}

pub(super) fn configure(
    url: &str,
    pooler: Option<&str>,
    secret: tenantry_postgres::ClusterSecret,
) -> Result<DatabaseConfig, CliError> {
    let wrong = |what: &str| {
        CliError::usage(format!("{what} is not a PostgreSQL URL"))
            .hint("such as `postgres://db.example.com:5432/tenantry`")
    };
    let database = DatabaseConfig::new(url, secret).map_err(|_| wrong("the database URL"))?;
    match pooler {
        Some(pooler) => database.with_pooler(pooler).map_err(|_| wrong("the pooler URL")),
        None => Ok(database),
    }
}
