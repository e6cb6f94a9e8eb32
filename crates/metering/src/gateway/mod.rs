//! Where calls of official clients pass through: OpenAI's API below `/llm/openai/v1`, Anthropic's below `/llm/anthropic/v1`.
//!
//! A client needs a base address and a tenant's key and is otherwise what it is. Bytes go through as they are, in both directions, whatever fields or
//! events are in them; errors of ours have the shape of the API's own. On the way the gateway takes the tenant's account at the provider, puts its
//! credential in the place of the tenant's, and meters the call:
//!
//! * A call runs in a task of its own (`run`). What its client does cannot stop it: when the client goes, the answer is read on, as far as there is
//!   place and time, because the provider counts it too.
//! * Nothing is sent before the budgets have admitted the call and the spool has its intent on disk, and the answer does not end before the spool
//!   has what it cost.
//! * Nothing is repeated unless it has cost nothing and somebody asked for it. Every attempt is a row.
//!
//! On the way of a call there is no database but for what is looked up once a second (`accounts`) or once at all (`attribution`).

mod accounts;
mod api;
mod ask;
mod attribution;
pub mod document;
mod headers;
mod pass;
mod refuse;
mod run;
mod settings;
mod shape;
mod stream;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Request, State};
use axum::routing::MethodFilter;
use reqwest::{Client, ClientBuilder};
use tenantry_http::{Dialect, TenantRouter, TenantScope};
use tenantry_postgres::TenantDb;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use workforce::Keychain;

use crate::Metering;
use accounts::Accounts;
use api::Operation;
use attribution::Attributions;

pub use settings::{GatewayError, GatewaySettings};

/// What all its paths begin with.
const PREFIX: &str = "/llm/";
/// Connections to a provider that wait for the next call.
const IDLE_CONNECTIONS: usize = 512;
/// How long they do: less than providers and what stands before them keep an idle connection.
const IDLE: Duration = Duration::from_secs(50);

/// The gateway of a server. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    settings: GatewaySettings,
    metering: Metering,
    db: TenantDb,
    keychain: Keychain,
    upstreams: BTreeMap<String, String>,
    /// For addresses that the operator has given.
    client: Client,
    /// For addresses that tenants have given.
    guarded: Client,
    accounts: Accounts,
    attributions: Attributions,
    calls: Arc<Semaphore>,
    drains: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("calls", &self.inner.tasks.len()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// From the settings.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn new(
        settings: &GatewaySettings,
        metering: Metering,
        db: TenantDb,
        keychain: Keychain,
    ) -> Result<Self, GatewayError> {
        let failed = |error: &dyn fmt::Display| GatewayError::Client(error.to_string());
        let plain = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).referer(false);
        let guarded = keychain.egress.guarded_client().map_err(|error| failed(&error))?;
        let inner = Inner {
            upstreams: settings::upstreams(settings)?,
            client: asking(plain, settings).map_err(|error| failed(&error))?,
            guarded: asking(guarded, settings).map_err(|error| failed(&error))?,
            metering,
            db,
            keychain,
            accounts: Accounts::new(),
            attributions: Attributions::new(),
            calls: Arc::new(Semaphore::new(settings.max_calls.min(Semaphore::MAX_PERMITS))),
            drains: Arc::new(Semaphore::new(settings.max_drains.min(Semaphore::MAX_PERMITS))),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings: settings.clone(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How requests to it differ from ours, for [`harden_with`](tenantry_http::harden_with).
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        Dialect { prefix: PREFIX, body_limit: self.inner.settings.body_limit, error: shape::error }
    }

    /// Ends all calls that still run, as cut off, and waits until the spool has them, at most `limit`. Call it when serving has ended: those
    /// that somebody waits for had the drain's time.
    pub async fn close(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait()).await.is_err() {
            let left = self.inner.tasks.len();
            tracing::warn!(target: "metering::gateway", left, "calls are left to be settled as what they were intended to be");
        }
    }

    /// Calls that run now, those whose clients have gone included.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.tasks.len()
    }
}

/// The client that asks providers: HTTP/1.1, because one connection that dies then takes one call with it; no repetition of any kind; no time
/// limit over the whole, because a stream may last.
fn asking(builder: ClientBuilder, settings: &GatewaySettings) -> reqwest::Result<Client> {
    builder
        .http1_only()
        .tcp_nodelay(true)
        .retry(reqwest::retry::never())
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE)
        .build()
}

/// Its routes. What is not here is not passed on.
pub fn router<S>() -> TenantRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Gateway: FromRef<S>,
{
    let mut router = TenantRouter::new();
    for operation in Operation::ALL {
        let method = if operation.is_read() { MethodFilter::GET } else { MethodFilter::POST };
        for path in operation.paths() {
            let handler = move |TenantScope(context): TenantScope, State(gateway): State<Gateway>, request: Request| async move {
                gateway.pass(context, operation, request).await
            };
            router = router.on(method, path, handler);
        }
    }
    router
}
