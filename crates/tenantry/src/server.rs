//! A running server: registry, access and router on one database.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metering::gateway::{Gateway, GatewayError};
use metering::{Metering, MeteringError};
use tenantry_control::{Stripe, StripeError};
use tenantry_core::SystemClock;
use tenantry_http::{Drained, TenancyError, TenancyState};
use tenantry_postgres::{Actor, DatabaseConfig, NotReady, Provisioner, Registry, RegistryConfig, TenantDb};
use tenantry_secrets::{MasterKeyError, Secrets};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workforce::keychain::{Broken, oauth};
use workforce::{Keychain, Scheduler, Scheduling};

use crate::quotas::QuotaWatch;
use crate::{AppState, Settings, router};

/// How long a start waits for the database before it goes on without: it becomes ready when the database does.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after each warm schema: making one keeps a core of the database busy for a moment, and tenants are being served.
const WARM_PAUSE: Duration = Duration::from_millis(200);

/// How often tenants are looked for whose time to pay is over.
const DUNNING: Duration = Duration::from_secs(60);
/// Between two looks for tokens that are due.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
/// How long a start waits for the shared rate limits: this server counts by itself until they are there.
const SHARED_LIMITS: Duration = Duration::from_secs(1);

/// How long an end waits for refused attempts to be in the audit table.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// How long an end waits for schedules that are being run. One that is cut off is undone, and run by another server.
const LAST_RUNS: Duration = Duration::from_secs(10);

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
        for reason in registry.readiness().await {
            match reason {
                NotReady::Migrations(missing) => return Err(StartError::NotPrepared(missing)),
                NotReady::Login(why) => return Err(StartError::LoginRefused(why)),
                other => tracing::warn!(target: "tenantry::ready", reason = %other, "not ready yet"),
            }
        }
        let state = AppState { tenancy, provisioner, scheduling, stripe, keychain, metering, gateway };
        Ok(Self { state, settings: settings.clone() })
    }

    /// What the endpoints share.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves until `shutdown` resolves, finishes running requests and closes all connections.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Drained {
        let router = router(&self.state);
        let warm = usize::from(self.settings.warm);
        let provisioner = self.state.provisioner.clone();
        let refilling = (warm > 0).then(|| tokio::spawn(async move { provisioner.keep_warm(warm, WARM_PAUSE).await }));
        let dunning = tokio::spawn(suspend_overdue(self.state.provisioner.clone()));
        let renewing = tokio::spawn(oauth::keep_fresh(
            self.state.tenancy.registry().clone(),
            self.state.tenancy.db().clone(),
            self.state.keychain.clone(),
            RENEWAL_PAUSE,
        ));
        let interval = self.settings.quotas.measure_interval;
        let watch = QuotaWatch::new(&self.state, interval);
        let measuring = (!interval.is_zero()).then(|| tokio::spawn(async move { watch.run().await }));
        let stop = CancellationToken::new();
        let running = self.run_schedules(&stop);
        let db = self.state.tenancy.db().clone();
        let sweeping = tokio::spawn(async move { db.keep_events_swept().await });
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
        sweeping.abort();
        // Also where serving has ended by itself.
        stop.cancel();
        if let Some(mut running) = running
            && tokio::time::timeout(LAST_RUNS, &mut running).await.is_err()
        {
            running.abort();
            tracing::warn!(target: "tenantry::schedules", "runs that had begun are left to another server");
        }
        if let Some(refilling) = refilling {
            // One that is being made ends with its connection, and the database takes it back.
            refilling.abort();
        }
        dunning.abort();
        // A renewal that is under way is taken up by another server when its lease is over.
        renewing.abort();
        if let Some(measuring) = measuring {
            // Whatever was not measured is due for another server.
            measuring.abort();
        }
        self.state.tenancy.db().close();
        self.state.tenancy.registry().drain_refusals(LAST_WRITES).await;
        self.state.tenancy.registry().stop();
        drained
    }

    /// Runs due schedules until told to stop, where this server is to.
    fn run_schedules(&self, stop: &CancellationToken) -> Option<JoinHandle<()>> {
        let settings = self.settings.scheduler.clone();
        if !settings.enabled {
            return None;
        }
        let tenancy = &self.state.tenancy;
        let scheduler =
            Scheduler::new(tenancy.registry().clone(), tenancy.db().clone(), Arc::new(SystemClock), settings);
        Some(tokio::spawn(scheduler.run(stop.clone())))
    }
}

/// Suspends tenants whose time to pay is over, for as long as it is polled. Events do it as they come; this is for when none comes.
async fn suspend_overdue(provisioner: Provisioner) {
    let mut ticks = tokio::time::interval(DUNNING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match provisioner.suspend_overdue(&Actor::system("billing")).await {
            Ok(0) => {}
            Ok(suspended) => {
                tracing::info!(target: "tenantry::billing", suspended, "tenants suspended: their time to pay is over")
            }
            Err(error) => {
                tracing::warn!(target: "tenantry::billing", %error, "tenants whose time to pay is over cannot be looked for")
            }
        }
    }
}
