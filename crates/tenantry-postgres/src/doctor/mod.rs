//! Examines an installation and the server it is on: what is wrong, why that matters, and the line that mends it.
//!
//! Nothing is changed. With a superuser's URL everything is seen; with our own roles what they may read, and what they may
//! not is said.

mod catalog;
mod fleet;
mod grants;
mod pooler;
mod roles;
mod server;
mod settings;

use serde::Serialize;
use tokio_postgres::{Client, Row};

use crate::config::{AccessConfig, DatabaseConfig, RegistryConfig};
use crate::connect::{Logins, connect};
use crate::error::DbError;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// Isolation, data or service are at risk.
    Fail,
}

impl Severity {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check, such as `roles.attributes`.
    pub check: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What was found, and why it matters.
    pub reason: String,
    /// The SQL statements, command or setting that mend it, as they are to be entered.
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, reason: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, reason: reason.into(), mend: None }
    }

    fn warn(check: &'static str, reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warn, reason: reason.into(), mend: Some(mend.into()) }
    }

    fn fail(check: &'static str, reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, severity: Severity::Fail, reason: reason.into(), mend: Some(mend.into()) }
    }
}

/// What the installation is meant to bear.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Servers (`tenantry serve`) at the same time.
    pub servers: u32,
    /// Their connections to tenants.
    pub access: AccessConfig,
    /// Their connections to the registry.
    pub registry: RegistryConfig,
    /// The version that new tenants get.
    pub version: i32,
    /// The least version that the program serves.
    pub needs: i32,
}

impl Expected {
    /// Connections of one server to tenants' data.
    fn tenants_connections(&self) -> usize {
        self.access.max_connections
    }

    /// Its connections beside those: registry, listener, and both kinds of provisioning (4 each).
    fn other_connections(&self) -> usize {
        self.registry.connections + 1 + 8
    }
}

/// A database under examination.
struct Patient<'a> {
    client: Client,
    database: &'a DatabaseConfig,
    expected: &'a Expected,
}

impl Patient<'_> {
    async fn rows(&self, sql: &str) -> Result<Vec<Row>, DbError> {
        Ok(self.client.query_typed(sql, &[]).await?)
    }

    async fn flag(&self, sql: &str) -> Result<bool, DbError> {
        Ok(self.rows(sql).await?.first().is_some_and(|row| row.get(0)))
    }
}

/// Examines a database. `admin_url` is used with its user where it names one; else the control role looks.
///
/// # Errors
/// [`DbError`] when the database cannot be asked at all.
pub async fn examine(admin_url: &str, database: &DatabaseConfig, expected: &Expected) -> Result<Vec<Finding>, DbError> {
    let mut config: tokio_postgres::Config = admin_url.parse().map_err(DbError::from)?;
    config.application_name("tenantry doctor");
    let client = if config.get_user().is_some() {
        crate::init::open(&config).await?
    } else {
        connect(database, Logins::CONTROL).await?
    };
    // Names in what is printed are whole, whatever the user's path is.
    client
        .batch_execute(
            "SET search_path = pg_catalog; SET statement_timeout = '60s'; SET default_transaction_read_only = on",
        )
        .await?;
    let patient = Patient { client, database, expected };
    let mut findings = server::version(&patient).await?;
    findings.extend(settings::examine(&patient).await?);
    findings.extend(server::clock(&patient).await?);
    findings.extend(server::encryption(&patient).await?);
    let prepared = patient.flag("SELECT to_regclass('public.schema_migrations') IS NOT NULL").await?;
    if !prepared {
        findings.push(Finding::fail("fleet.migrations", "the database is not prepared", "tenantry init"));
    } else {
        findings.extend(fleet::migrations(&patient).await?);
    }
    findings.extend(roles::secret(&patient).await);
    // Without its last tables the registry cannot be asked about the fleet.
    if prepared && patient.flag("SELECT to_regclass('public.warm_schemas') IS NOT NULL").await? {
        for check in roles::CHECKS.iter().chain(grants::CHECKS).chain(fleet::CHECKS) {
            findings.extend(catalog::examine(&patient, check).await?);
        }
        findings.push(fleet::versions(&patient).await?);
        findings.extend(grants::withdrawn(&patient).await?);
    }
    if database.pooler.is_some() {
        findings.extend(pooler::examine(&patient).await);
    }
    Ok(findings)
}
