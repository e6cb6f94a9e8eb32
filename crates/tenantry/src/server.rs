//! A running server: registry, access and router on one database.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metering::gateway::{Gateway, GatewayError};
use metering::ship::Shipping;
use metering::{Metering, MeteringError};
use tenantry_control::{Stripe, StripeError};
use tenantry_core::SystemClock;
use tenantry_http::{Drained, TenancyError, TenancyState};
use tenantry_postgres::{DatabaseConfig, NotReady, Provisioner, Registry, RegistryConfig, TenantDb};
use tenantry_secrets::{MasterKeyError, Secrets};
use tokio::net::TcpListener;
use workforce::keychain::Broken;
use workforce::{Keychain, Scheduling};

use crate::jobs::Jobs;
use crate::{AppParts, AppState, Settings, router};

/// How long a start waits for the database before it goes on without: it becomes ready when the database does.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a start waits for the shared rate limits: this server counts by itself until they are there.
const SHARED_LIMITS: Duration = Duration::from_secs(1);

/// How long a start waits for loaded prices and tenants' own: calls have no price until they are there.
const PRICES: Duration = Duration::from_secs(2);

/// How long an end waits for refused attempts to be in the audit table.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// How long an end waits for calls to be in the database. What is not stays in the spool.
const LAST_SHIPMENTS: Duration = Duration::from_secs(5);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings of tokens or of rate limits.
    #[error(transparent)]
    Tenancy(#[from] TenancyError),
    /// The settings of Stripe.
    #[error("the settings of Stripe cannot be used: {0}")]
    Stripe(#[from] StripeError),
    /// The master keys.
    #[error(transparent)]
    Secrets(#[from] MasterKeyError),
    /// The spool.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// The settings of the gateway.
    #[error("the settings of the gateway cannot be used: {0}")]
    Gateway(#[from] GatewayError),
    /// Authorization of accounts, or requests to services.
    #[error(transparent)]
    Keychain(#[from] Broken),
    /// The database was not prepared by this version's `init`.
    #[error("the database is not prepared: {0}")]
    NotPrepared(String),
    /// The database refuses our roles.
    #[error("the database refuses the login of `tenantry_control`: {0}")]
    LoginRefused(String),
}

/// A server that is ready to serve.
#[derive(Debug)]
pub struct Server {
    state: AppState,
    settings: Settings,
    shipping: Shipping,
}

impl Server {
    /// Connects everything. A database that does not answer yet is waited for only shortly, a wrong one is refused.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(database: &DatabaseConfig, settings: &Settings) -> Result<Self, StartError> {
        let clock = Arc::new(SystemClock);
        let schema = workforce::tenant_schema();
        let secrets = Secrets::start(database, &settings.secrets, clock.clone()).await?;
        let keychain = Keychain::new(database, secrets, &settings.oauth, &settings.egress, clock.clone())?;
        let registry_config = RegistryConfig {
            needs_version: schema.needs,
            events: settings.events.clone(),
            ..settings.registry.clone()
        };
        let registry = Registry::start(database, &registry_config, clock.clone());
        let db = TenantDb::new(database.clone(), settings.access.clone(), registry.clone());
        let provisioner = Provisioner::new(database, schema, settings.cell_capacity)
            .with_grace(TimeDelta::days(settings.grace_days.into()))
            .with_billing(settings.stripe.policy());
        let stripe = Stripe::load(&settings.stripe, clock.clone())?;
        let metering = Metering::start(database, &settings.metering, clock.clone())?;
        let gateway = Gateway::new(&settings.metering.gateway, metering.clone(), db.clone(), keychain.clone())?;
        let scheduling = Scheduling::new(clock.clone(), &settings.scheduler);
        let tenancy = TenancyState::new(registry.clone(), db, settings.http.clone(), clock)?;
        registry.wait_until_listening(PATIENCE).await;
        tenancy.rates().ready(SHARED_LIMITS).await;
        metering.prices.begin(&metering.db, PRICES).await;
        for reason in registry.readiness().await {
            match reason {
                NotReady::Migrations(missing) => return Err(StartError::NotPrepared(missing)),
                NotReady::Login(why) => return Err(StartError::LoginRefused(why)),
                other => tracing::warn!(target: "tenantry::ready", reason = %other, "not ready yet"),
            }
        }
        let shipping = Shipping::start(&metering, &settings.metering)?;
        let state = AppState::from(AppParts { tenancy, provisioner, scheduling, stripe, keychain, metering, gateway });
        Ok(Self { state, settings: settings.clone(), shipping })
    }

    /// What the endpoints share.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves until `shutdown` resolves, finishes running requests and closes all connections.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Drained {
        let router = router(&self.state);
        let jobs = Jobs::start(&self.state, &self.settings);
        let stop = jobs.stop();
        let events = self.state.tenancy.registry().events().clone();
        let shutdown = async {
            shutdown.await;
            stop.cancel();
            // A stream would otherwise go on until the drain's time is over.
            events.close();
        };
        let drained = tenantry_http::serve(listener, router, &self.settings.http, shutdown).await;
        // While what it spools is still shipped.
        self.state.gateway.close(LAST_WRITES).await;
        jobs.end().await;
        // After the last request: what it has left is shipped, too.
        self.shipping.stop(LAST_SHIPMENTS).await;
        // What is not given back is nobody else's until it expires.
        if tokio::time::timeout(LAST_WRITES, self.state.metering.budgets.leave()).await.is_err() {
            tracing::warn!(target: "tenantry::budgets", "leases are left to expire");
        }
        self.state.tenancy.db().close();
        self.state.tenancy.registry().drain_refusals(LAST_WRITES).await;
        self.state.tenancy.registry().stop();
        drained
    }
}
