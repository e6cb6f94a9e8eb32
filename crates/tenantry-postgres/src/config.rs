use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::events::EventsConfig;

/// The installation's secret. The passwords of all login roles are derived from it, so that no
/// password is stored and a new cell needs no distribution of one.
#[derive(Clone)]
pub struct ClusterSecret(SecretString);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

impl ClusterSecret {
    /// Takes a secret of at least 32 characters.
    pub fn new(secret: SecretString) -> Result<Self, &'static str> {
        if secret.expose_secret().len() < 32 {
            return Err("the secret needs at least 32 characters");
        }
        Ok(Self(secret))
    }

    /// The password of a login role: HMAC-SHA-256 of the role's name. A pooler's list of users needs those of the cells.
    #[must_use]
    pub fn password_of(&self, role: &str) -> SecretString {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .expect("an HMAC takes a key of any length");
        mac.update(b"tenantry login password\0");
        mac.update(role.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()).into()
    }

    /// 32 bytes that nobody without the secret can guess: HMAC-SHA-256 of the parts, each with its length before it.
    pub(crate) fn derive(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .expect("an HMAC takes a key of any length");
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// A key of 32 bytes for one purpose.
    fn key_for(&self, purpose: &str) -> SecretSlice<u8> {
        self.derive(&[b"tenantry key", purpose.as_bytes()]).to_vec().into()
    }

    /// What the server is given to store in the place of the password: its SCRAM-SHA-256 verifier. So no statement, and no
    /// log of statements, ever holds a password.
    pub(crate) fn verifier_of(&self, role: &str) -> String {
        postgres_protocol::password::scram_sha_256(self.password_of(role).expose_secret().as_bytes())
    }
}

/// Where the database is. User and password are those of our own roles, never the URL's.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    pub(crate) direct: Address,
    pub(crate) pooler: Option<Address>,
    pub(crate) secret: ClusterSecret,
}

/// Where a server or pooler is, and whether TLS is spoken on the way there: a pooler beside us may do without what the
/// server far away needs, and the other way round.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) tls: bool,
}

impl DatabaseConfig {
    /// Reads a `postgres://` URL or key-value string.
    pub fn new(url: &str, secret: ClusterSecret) -> Result<Self, tokio_postgres::Error> {
        Ok(Self { direct: Address::parse(url)?, pooler: None, secret })
    }

    /// Sends tenant traffic through a transaction-mode pooler; registry, listener and provisioning
    /// stay on the direct address.
    pub fn with_pooler(mut self, url: &str) -> Result<Self, tokio_postgres::Error> {
        self.pooler = Some(Address::parse(url)?);
        Ok(self)
    }

    /// A key of 32 bytes that all servers of the installation can derive, for one purpose.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> SecretSlice<u8> {
        self.secret.key_for(purpose)
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        self.direct.postgres.get_dbname().unwrap_or("postgres")
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        let host = match self.direct.postgres.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(name)) => name.clone(),
            Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        };
        format!("{host}:{}", self.direct.postgres.get_ports().first().copied().unwrap_or(5432))
    }
}

impl Address {
    fn parse(url: &str) -> Result<Self, tokio_postgres::Error> {
        let mut postgres: tokio_postgres::Config = url.parse()?;
        postgres
            .connect_timeout(Duration::from_secs(5))
            .application_name("tenantry")
            .tcp_user_timeout(Duration::from_secs(20));
        let tls = postgres.get_ssl_mode() != tokio_postgres::config::SslMode::Disable;
        Ok(Self { postgres, tls })
    }
}

/// How connections are scoped to a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// Connections are ours: scope is kept for the session, tenants return to the connection that
    /// served them last, statements are prepared.
    #[default]
    Direct,
    /// A transaction-mode pooler stands between: scope lives inside each transaction, nothing is prepared.
    Pooler,
}

/// Limits of the tenant connections of one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// `direct` or `pooler`. Default: `direct`, or `pooler` where a pooler is configured.
    pub mode: AccessMode,
    /// Connections of this process to tenant cells, all together. Default: 64.
    pub max_connections: usize,
    /// Connections to one cell. Default: 16.
    pub cell_connections: usize,
    /// Connections one tenant may hold at a time; below `cell_connections`, so that no tenant takes its whole cell. Default: 3.
    pub tenant_connections: usize,
    /// How long to wait for a connection before refusing. Default: 5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub acquire_timeout: Duration,
    /// Time limit of a statement, kept by the server. Default: 30 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub statement_timeout: Duration,
    /// Time limit of waiting for a lock, kept by the server. Default: 5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub lock_timeout: Duration,
    /// Prepared statements kept on one connection, over all its tenants. Default: 1024.
    pub statement_cache: usize,
    /// Tenants a connection may serve before it is replaced, which bounds the backend's memory. Default: 400.
    pub tenants_per_connection: usize,
    /// What is switched off in a negative control; everything is on in a product build.
    #[cfg(feature = "negative-controls")]
    #[serde(skip)]
    pub defences: Defences,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            mode: AccessMode::Direct,
            max_connections: 64,
            cell_connections: 16,
            tenant_connections: 3,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            statement_cache: 1024,
            tenants_per_connection: 400,
            #[cfg(feature = "negative-controls")]
            defences: Defences::default(),
        }
    }
}

/// Switches of negative controls: with one off, the isolation suite must fail. Exists only with the
/// feature `negative-controls`, which no product build enables.
#[cfg(feature = "negative-controls")]
#[derive(Debug, Clone, Copy)]
pub struct Defences {
    /// Take the tenant's role.
    pub role: bool,
    /// Pin `search_path` and qualify names with the tenant's own schema.
    pub path: bool,
    /// Reset the session when a connection changes tenant.
    pub reset: bool,
    /// Check the context again when a connection is taken.
    pub context_check: bool,
}

#[cfg(feature = "negative-controls")]
impl Default for Defences {
    fn default() -> Self {
        Self { role: true, path: true, reset: true, context_check: true }
    }
}

/// How the registry's cache stays true.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// A cached entry older than this is not trusted while the listener is down. Default: 0.8 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub stale_after: Duration,
    /// How often the listener proves that it hears. Default: 0.2 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub heartbeat: Duration,
    /// Connections for registry reads and audit. Default: 4.
    pub connections: usize,
    /// Most entries kept of each kind. Default: 100,000.
    pub capacity: usize,
    /// Who enters a tenant, by which credential and from which address, is noted in the tenant's audit trail so often at most; 0 is
    /// never. Default: 1 h.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub note_entries_every: Duration,
    /// The version that a tenant's schema must have at least to be served; 0 serves all. It belongs to the program
    /// (`TenantSchema::needs`), so no settings file has it.
    #[serde(skip)]
    pub needs_version: i32,
    /// Events and their streams; a section of their own in a settings file.
    #[serde(skip)]
    pub events: EventsConfig,
    /// Whether changes are listened for; off only in a negative control.
    #[cfg(feature = "negative-controls")]
    #[serde(skip)]
    pub invalidate: bool,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            stale_after: Duration::from_millis(800),
            heartbeat: Duration::from_millis(200),
            connections: 4,
            capacity: 100_000,
            note_entries_every: Duration::from_secs(3600),
            needs_version: 0,
            events: EventsConfig::default(),
            #[cfg(feature = "negative-controls")]
            invalidate: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_tls() {
        let secret = || ClusterSecret::new("0123456789abcdef0123456789abcdef".to_owned().into()).unwrap();
        for (direct, pooler) in [("require", "disable"), ("disable", "require")] {
            let config = DatabaseConfig::new(&format!("postgres://db.example/app?sslmode={direct}"), secret()).unwrap();
            let config = config.with_pooler(&format!("postgres://localhost:6432/app?sslmode={pooler}")).unwrap();
            assert_eq!((config.direct.tls, config.pooler.unwrap().tls), (direct == "require", pooler == "require"));
        }
    }
}
