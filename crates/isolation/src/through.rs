//! The two ways to the database: our own connections, and a transaction-mode pooler that stands between.

use std::time::Duration;

use tenantry_embedded::{PgBouncer, PgBouncerConfig};
use tenantry_postgres::{AccessMode, DatabaseConfig};
use testkit::TestDatabase;

/// A real PgBouncer in transaction mode in front of a database's server. Cells' logins get in by their stored verifiers,
/// which the pooler reads from the server, so new cells need no reload.
///
/// # Panics
/// When PgBouncer is not installed or does not start: a test that silently skips proves nothing.
pub async fn pooler(database: &TestDatabase, server_connections: u32) -> PgBouncer {
    let (host, port, user, password) = parts(database.server());
    let mut config = PgBouncerConfig::new(host, port).user(&user, password);
    config.default_pool_size = server_connections;
    config.settings.push(("auth_user".into(), user));
    config
        .settings
        .push(("auth_query".into(), "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename=$1".into()));
    PgBouncer::start(config).await.expect("PgBouncer starts")
}

/// A database's configuration with tenants' traffic through the pooler.
///
/// # Panics
/// Never: the URL is made here.
#[must_use]
pub fn by_way_of(database: &TestDatabase, pooler: &PgBouncer) -> DatabaseConfig {
    let url = format!("postgres://nobody@127.0.0.1:{}/{}?sslmode=disable", pooler.port(), database.name);
    database.config.clone().with_pooler(&url).expect("the URL is well formed")
}

/// Host, port, user and password of a server's URL.
///
/// # Panics
/// When the URL lacks one.
#[must_use]
pub fn parts(url: &str) -> (String, u16, String, String) {
    let config: tokio_postgres::Config = url.parse().expect("the server's URL parses");
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        other => panic!("the server's URL names no TCP host: {other:?}"),
    };
    let port = *config.get_ports().first().expect("the server's URL names a port");
    let password =
        String::from_utf8_lossy(config.get_password().expect("the server's URL has a password")).into_owned();
    (host, port, config.get_user().expect("the server's URL names a user").to_owned(), password)
}

/// Access limits of a few connections in one of the two modes.
#[must_use]
pub fn few_connections(mode: AccessMode, cell: usize, all: usize) -> tenantry_postgres::AccessConfig {
    tenantry_postgres::AccessConfig {
        mode,
        max_connections: all,
        cell_connections: cell,
        tenant_connections: cell,
        // Longer than anything here lasts: running into it means that a place was lost.
        acquire_timeout: Duration::from_secs(15),
        ..tenantry_postgres::AccessConfig::default()
    }
}
