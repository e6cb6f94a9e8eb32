use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio_postgres::{AsyncMessage, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Address, DatabaseConfig};
use crate::error::DbError;
use crate::wire::{Driven, Wire};

/// How long a connection may take to be ready for its first statement. The driver's own limit ends when the socket is
/// open; a server (or something before it) that takes the socket and then keeps silent would hold us for ever.
const READY: Duration = Duration::from_secs(5);

/// The fixed login roles and groups. Cell logins are named by [`Logins::cell`].
#[derive(Debug)]
pub struct Logins;

impl Logins {
    /// Owns every object; nobody logs in as it.
    pub const OWNER: &'static str = "tenantry_owner";
    /// Provisions and migrates; may become the owner, is no superuser.
    pub const MIGRATOR: &'static str = "tenantry_migrator";
    /// Reads and writes the registry.
    pub const CONTROL: &'static str = "tenantry_control";
    /// Writes analytics.
    pub const METER: &'static str = "tenantry_meter";
    /// Reads across tenants, audited.
    pub const AUDITOR: &'static str = "tenantry_auditor";
    /// The group of all tenants' roles.
    pub const TENANT_GROUP: &'static str = "tenantry_tenant";

    /// The login of a cell of an installation.
    #[must_use]
    pub fn cell(installation: &str, number: i32) -> String {
        format!("tenantry_cell_{installation}_{number}")
    }
}

/// Connects as one of our roles. The connection's task ends when the client is dropped.
pub(crate) async fn connect(config: &DatabaseConfig, role: &str) -> Result<Client, DbError> {
    connect_with(config, &config.direct, role, |_| {}).await
}

/// Connects a cell's login, through the pooler where there is one.
pub(crate) async fn connect_cell(config: &DatabaseConfig, role: &str) -> Result<Client, DbError> {
    connect_with(config, config.pooler.as_ref().unwrap_or(&config.direct), role, |_| {}).await
}

/// Connects and hands every asynchronous message (notifications, notices) to `on_message`.
pub(crate) async fn connect_with(
    config: &DatabaseConfig,
    address: &Address,
    role: &str,
    mut on_message: impl FnMut(AsyncMessage) + Send + 'static,
) -> Result<Client, DbError> {
    let (client, mut connection) = establish(config, address, role).await?;
    tokio::spawn(async move {
        // A connection's end shows in every call of its client, so it is not reported twice.
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            on_message(message);
        }
    });
    Ok(client)
}

/// Connects for one user at a time, who moves the bytes as well.
pub(crate) async fn connect_wire(config: &DatabaseConfig, address: &Address, role: &str) -> Result<Wire, DbError> {
    let (client, connection) = establish(config, address, role).await?;
    Ok(Wire::new(client, connection))
}

async fn establish(
    config: &DatabaseConfig,
    address: &Address,
    role: &str,
) -> Result<(Client, Box<dyn Driven>), DbError> {
    let mut base = address.postgres.clone();
    base.user(role).password(config.secret.password_of(role).expose_secret());
    let connecting = async {
        if address.tls {
            let (client, connection) = base.connect(rustls_connector()?).await.map_err(DbError::not_connected)?;
            Ok((client, Box::new(connection) as Box<dyn Driven>))
        } else {
            let (client, connection) = base.connect(NoTls).await.map_err(DbError::not_connected)?;
            Ok((client, Box::new(connection) as Box<dyn Driven>))
        }
    };
    // Boxed: every future that may connect would be as large as a TLS handshake.
    match tokio::time::timeout(READY, Box::pin(connecting)).await {
        Ok(connected) => connected,
        Err(_) => Err(DbError::Unavailable(format!("no connection within {READY:?}"))),
    }
}

pub(crate) fn rustls_connector() -> Result<MakeRustlsConnect, DbError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_platform_verifier())
        .map_err(|e| DbError::Unavailable(format!("TLS cannot be set up: {e}")))?
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
