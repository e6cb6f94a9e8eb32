use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use serde_json::json;
use tenantry_core::{Clock, Slug};
use tenantry_postgres::{AccessError, DbError, MeterDb, Registry, TenantContext, TenantDb};
use tenantry_secrets::SecretsError;
use tokio_util::sync::CancellationToken;
use workforce::Keychain;
use workforce::keychain::egress::EgressError;

use super::webhook::{self, Post};
use crate::store::budgets::secret_of;
use crate::store::notices::{self, Due, Ended};

/// Notices taken at a time.
const BATCH: i64 = 32;
/// Notices told at the same time.
const AT_ONCE: usize = 4;
/// How often to look for what is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long what one server has taken is left to it: longer than any receiver may take.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// When to look again after a tenant that is not served.
const AWAY: TimeDelta = TimeDelta::hours(1);

/// What one look came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Notices that are told, and done with.
    pub told: usize,
    /// Notices whose receiver did not take them; they are tried again.
    pub put_off: usize,
    /// Notices that are given up.
    pub given_up: usize,
}

/// Tells what was noticed of budgets: as an event of the tenant, and to the budget's own address.
///
/// The event is written once, with the mark that it was. A post may come more than once, with the same `webhook-id`.
#[derive(Clone)]
pub struct Notifier {
    registry: Registry,
    tenants: TenantDb,
    keychain: Keychain,
    db: MeterDb,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum NotTold {
    /// Not now: the tenant is suspended, or the database away.
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("the receiver answered {0}")]
    Status(u16),
}

impl Notifier {
    /// Does nothing yet.
    #[must_use]
    pub fn new(registry: Registry, tenants: TenantDb, keychain: Keychain, db: MeterDb, clock: Arc<dyn Clock>) -> Self {
        Self { registry, tenants, keychain, db, clock }
    }

    /// Looks and tells until `stop`. What has begun by then is finished.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.tick().await {
                tracing::warn!(target: "tenantry::budgets", %error, "notices of budgets cannot be looked for");
            }
            // Whichever comes first.
            let _ = tokio::time::timeout(INTERVAL, stop.cancelled()).await;
        }
    }

    /// Tells everything that is due now.
    ///
    /// # Errors
    /// [`DbError`] when nothing can be looked for. What concerns one notice is in the log and in the tally.
    pub async fn tick(&self) -> Result<Tally, DbError> {
        let mut tally = Tally::default();
        loop {
            let now = self.clock.now();
            let due = notices::take(&self.db, now, now + LEASE, BATCH).await?;
            if due.is_empty() {
                return Ok(tally);
            }
            let mut told = futures_util::stream::iter(due)
                .map(|due| async move { (self.tell(&due).await, due) })
                .buffer_unordered(AT_ONCE);
            while let Some((outcome, due)) = told.next().await {
                let ended = self.end_of(&due, outcome, &mut tally);
                notices::end(&self.db, due.id, &ended).await?;
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the platform warns when nobody asks")]
    async fn context(&self, tenant: &Slug) -> Result<TenantContext, AccessError> {
        self.registry.system_context(tenant, "budgets").await
    }

    /// Writes the event, if that was not done before, and posts. Gives when it was taken, or nothing when there is nowhere to post to.
    async fn tell(&self, due: &Due) -> Result<Option<DateTime<Utc>>, NotTold> {
        let context = self.context(&due.tenant).await?;
        let mut tx = self.tenants.begin(&context).await?;
        let now = self.clock.now();
        let notice = match notices::publish(&mut tx, due.id, now).await {
            Ok(notice) => notice,
            Err(error) => {
                // The connection is free for others before the reason is told.
                let _ = tx.rollback().await;
                return Err(error.into());
            }
        };
        tx.commit().await?;
        let Some(notice) = notice else { return Ok(None) };
        let Some((url, sealed)) = notice.webhook else { return Ok(None) };
        let secret = self.keychain.secrets.open(&context, secret_of(notice.budget), &sealed).await?;
        let body = json!({ "type": notice.kind, "timestamp": notice.noticed_at, "data": notice.data });
        let post = Post { id: notice.id, url: &url, secret: &secret, body: &body, at: now };
        match webhook::post(&self.keychain.egress, &post).await? {
            200..=299 => Ok(Some(now)),
            status => Err(NotTold::Status(status)),
        }
    }

    fn end_of(&self, due: &Due, outcome: Result<Option<DateTime<Utc>>, NotTold>, tally: &mut Tally) -> Ended {
        let attempts = due.attempts + 1;
        let error = match outcome {
            Ok(delivered_at) => {
                tally.told += 1;
                return Ended { delivered_at, attempts, ..Ended::default() };
            }
            Err(error) => error,
        };
        let now = self.clock.now();
        let tenant = &due.tenant;
        tracing::info!(target: "tenantry::budgets", %tenant, notice = %due.id, attempts, %error, "a notice of a budget was not taken");
        // Only what the receiver did counts as an attempt.
        let (attempts, pause) = match error {
            NotTold::Egress(_) | NotTold::Status(_) => {
                (attempts, webhook::pause_after(attempts).and_then(|pause| TimeDelta::from_std(pause).ok()))
            }
            NotTold::Access(_) => (due.attempts, Some(AWAY)),
            NotTold::Database(_) | NotTold::Secrets(_) => (due.attempts, Some(TimeDelta::seconds(30))),
        };
        if pause.is_some() {
            tally.put_off += 1
        } else {
            tally.given_up += 1
        }
        let next_attempt_at = pause.map(|pause| now + pause);
        Ended { delivered_at: None, attempts, next_attempt_at, error: Some(error.to_string()) }
    }
}
