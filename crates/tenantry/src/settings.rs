//! The settings of the server: one documented structure, read from one file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metering::MeteringSettings;
use serde::{Deserialize, Serialize};
use tenantry_control::StripeSettings;
use tenantry_http::HttpConfig;
use tenantry_postgres::{AccessConfig, EventsConfig, RegistryConfig};
use tenantry_secrets::SecretsConfig;
use workforce::SchedulerSettings;
use workforce::keychain::{EgressConfig, OAuthConfig};

/// The settings file of the working directory, read when it exists and no other is named.
pub const DEFAULT_FILE: &str = "tenantry.toml";

/// Everything that can be set. Whatever the file leaves out has its default; an unknown name is an error.
///
/// Durations are in seconds, sizes in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port to serve HTTP on; port 0 takes a free one. Environment: `TENANTRY_LISTEN`. Default: `127.0.0.1:8080`.
    pub listen: String,
    /// The database, as a `postgres://` URL. Tenantry's own roles log in; a user in the URL is for `init` only.
    /// Environment: `DATABASE_URL`.
    pub database_url: Option<String>,
    /// A transaction-mode pooler in front of it, for tenants' statements only. Environment: `TENANTRY_POOLER_URL`.
    pub pooler_url: Option<String>,
    /// The file with the installation's secret, from which the logins' passwords are derived.
    /// Environment: `TENANTRY_SECRET_FILE`, or `TENANTRY_SECRET` for the secret itself.
    pub secret_file: Option<PathBuf>,
    /// Days in which a deleted tenant can be restored before it may be purged. Default: 30.
    pub grace_days: u16,
    /// Tenants that share a cell: one login role and its few connections. Default: 200.
    pub cell_capacity: u16,
    /// Schemas that this server keeps ready, so that a new tenant need not wait for its tables to be made. Environment:
    /// `TENANTRY_WARM`. Default: 0, which leaves those that are there alone.
    pub warm: u16,
    /// Logging.
    pub log: LogSettings,
    /// Measurement of what tenants use.
    pub quotas: QuotaSettings,
    /// The HTTP layer.
    pub http: HttpConfig,
    /// Connections to tenants' data.
    pub access: AccessConfig,
    /// The registry's cache.
    pub registry: RegistryConfig,
    /// Stripe's webhooks, and what follows from them.
    pub stripe: StripeSettings,
    /// Secrets of tenants at rest.
    pub secrets: SecretsConfig,
    /// Authorization of provider accounts.
    pub oauth: OAuthConfig,
    /// Requests to services with credentials.
    pub egress: EgressConfig,
    /// Schedules that are due.
    pub scheduler: SchedulerSettings,
    /// Events and the streams that tell of them.
    pub events: EventsConfig,
    /// Metering of provider calls, and the gateway.
    pub metering: MeteringSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            database_url: None,
            pooler_url: None,
            secret_file: None,
            grace_days: 30,
            cell_capacity: 200,
            warm: 0,
            log: LogSettings::default(),
            quotas: QuotaSettings::default(),
            http: HttpConfig::default(),
            access: AccessConfig::default(),
            registry: RegistryConfig::default(),
            stripe: StripeSettings::default(),
            secrets: SecretsConfig::default(),
            oauth: OAuthConfig::default(),
            egress: EgressConfig::default(),
            scheduler: SchedulerSettings::default(),
            events: EventsConfig::default(),
            metering: MeteringSettings::default(),
        }
    }
}

/// How what tenants use of their limits is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaSettings {
    /// How old a measurement of a tenant may become before a server measures it again: its storage, for the write freeze and warnings,
    /// and its counters, for the operators' overview. 0: this server measures nothing. Default: 300 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub measure_interval: Duration,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self { measure_interval: Duration::from_secs(300) }
    }
}

/// What is logged, and how. Logs go to standard error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Levels by target, as in `info,tenantry::access=warn`. Environment: `TENANTRY_LOG`. Default: `info,tokio_postgres=warn`.
    pub filter: String,
    /// `text` or `json`. Environment: `TENANTRY_LOG_FORMAT`. Default: `text`.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info,tokio_postgres=warn".to_owned(), format: LogFormat::Text }
    }
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file `{}`: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the settings file `{}` is not valid: {}", path.display(), source.to_string().trim_end())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Settings {
    /// Reads a file; without one named, [`DEFAULT_FILE`] where it exists, or else the defaults.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(named: Option<&Path>) -> Result<Self, SettingsError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        if named.is_none() && !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| SettingsError::Invalid { path: path.to_owned(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults_and_a_wrong_name_is_refused() {
        let settings: Settings = toml::from_str("").unwrap();
        assert_eq!((settings.grace_days, settings.cell_capacity), (30, 200));
        let settings: Settings = toml::from_str("[access]\nacquire_timeout = 2.5\n[http]\nbody_limit = 10\n").unwrap();
        assert_eq!(settings.access.acquire_timeout.as_millis(), 2500);
        assert_eq!(settings.access.cell_connections, AccessConfig::default().cell_connections);
        assert!(toml::from_str::<Settings>("grace_day = 3").is_err());
        assert!(toml::from_str::<Settings>("[access]\nmax = 3").is_err());
    }

    #[test]
    fn the_documented_file_is_the_defaults() {
        let documented: Settings = toml::from_str(include_str!("../../../docs/tenantry.example.toml")).unwrap();
        let (documented, defaults) =
            (toml::to_string(&documented).unwrap(), toml::to_string(&Settings::default()).unwrap());
        assert_eq!(documented, defaults, "docs/tenantry.example.toml shows the defaults");
    }
}
