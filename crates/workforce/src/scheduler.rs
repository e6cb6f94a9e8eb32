//! The loop of a server that runs due schedules, for all companies.
//!
//! However many servers do this at once, each due run makes its task once: a run and the schedule's next time are one
//! transaction, which holds the schedule's row. The registry's alarms only say where to look, and their leases only keep
//! servers from looking at the same place; a server that is killed leaves a lease that ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tenantry_core::{Clock, Slug, SystemClock};
use tenantry_postgres::{AccessError, DbError, Registry, TenantContext, TenantDb};
use tokio_util::sync::CancellationToken;

use crate::schedule::{RunFailure, check_interval};
use crate::store::schedules::{self, Done, NotDone};
use crate::{Error, FieldError, ScheduleId};

/// Companies taken at a time.
const BATCH: i64 = 32;
/// Companies served at the same time.
const AT_ONCE: usize = 4;
/// However long a lease is set to be, what a dead server had taken is not left undone for ever.
const LONGEST_LEASE: TimeDelta = TimeDelta::days(1);
/// More schedules of one company than this do not fail in one go before the rest runs.
const MOST_FAILING: usize = 100;

/// How schedules are run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Whether this server runs due schedules. Any number of servers may. Default: true.
    pub enabled: bool,
    /// How often to look for what is due. Default: 1 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub interval: Duration,
    /// How long what one server has taken is left to it; a server that was killed holds it up for so long. Default: 30 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub lease: Duration,
    /// The least time between two runs that a schedule may ask for. Default: 60 s, which is every minute.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub min_interval: Duration,
    /// Failures in a row after which a schedule is disabled. Default: 10.
    pub max_failures: u16,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            min_interval: Duration::from_secs(60),
            max_failures: 10,
        }
    }
}

/// What the endpoints of schedules need besides the database. Cheap to clone.
#[derive(Clone)]
pub struct Scheduling {
    clock: Arc<dyn Clock>,
    min_interval: Duration,
}

impl fmt::Debug for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduling").field("min_interval", &self.min_interval).finish_non_exhaustive()
    }
}

impl Default for Scheduling {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), &SchedulerSettings::default())
    }
}

impl Scheduling {
    /// By a clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, settings: &SchedulerSettings) -> Self {
        Self { clock, min_interval: settings.min_interval }
    }

    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.now()
    }

    /// Refuses an expression that is due too often for this installation.
    pub(crate) fn check(&self, expression: &str) -> Result<(), Error> {
        check_interval(expression, self.min_interval)
            .map_err(|detail| Error::Invalid(vec![FieldError { pointer: "/cron_expression".to_owned(), detail }]))
    }

    pub(crate) const fn min_interval(&self) -> Duration {
        self.min_interval
    }
}

/// What one look came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Companies for which something was due.
    pub companies: usize,
    /// Of those, for which it could not be done; it is tried again when the lease is over.
    pub put_off: usize,
    /// Runs that made a task.
    pub ran: usize,
    /// Runs that made none.
    pub failed: usize,
    /// Runs put aside because they were due while the company was not served.
    pub skipped: usize,
    /// Schedules disabled because they failed too often.
    pub disabled: usize,
}

impl Tally {
    fn add(&mut self, company: &Slug, outcome: Result<Done, RunError>) {
        self.companies += 1;
        match outcome {
            Ok(Done { ran, failed, skipped, disabled }) => {
                self.ran += ran;
                self.failed += failed;
                self.skipped += skipped;
                self.disabled += disabled;
                tracing::debug!(target: "tenantry::schedules", tenant = %company, ran, failed, skipped, disabled, "due schedules were run");
            }
            Err(error) => {
                self.put_off += 1;
                tracing::warn!(target: "tenantry::schedules", tenant = %company, %error, "due schedules of `{company}` are put off");
            }
        }
    }
}

/// Why a company's schedules could not be run just now.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Runs what is due.
#[derive(Clone)]
pub struct Scheduler {
    registry: Registry,
    db: TenantDb,
    clock: Arc<dyn Clock>,
    settings: SchedulerSettings,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// Does nothing yet.
    #[must_use]
    pub fn new(registry: Registry, db: TenantDb, clock: Arc<dyn Clock>, settings: SchedulerSettings) -> Self {
        Self { registry, db, clock, settings }
    }

    /// Looks and runs until `stop`. What has begun by then is finished.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.look(&stop).await {
                tracing::warn!(target: "tenantry::schedules", %error, "due schedules cannot be looked for");
            }
            // Whichever comes first.
            let _ = tokio::time::timeout(self.settings.interval, stop.cancelled()).await;
        }
    }

    /// Runs everything that is due now.
    ///
    /// # Errors
    /// [`DbError`] when the registry cannot be asked. What concerns one company is in the log and in the tally.
    pub async fn tick(&self) -> Result<Tally, DbError> {
        self.look(&CancellationToken::new()).await
    }

    async fn look(&self, stop: &CancellationToken) -> Result<Tally, DbError> {
        let lease = TimeDelta::from_std(self.settings.lease).unwrap_or(LONGEST_LEASE).min(LONGEST_LEASE);
        let mut tally = Tally::default();
        while !stop.is_cancelled() {
            let due = self.registry.take_alarms(schedules::ALARM, self.clock.now(), lease, BATCH).await?;
            if due.is_empty() {
                break;
            }
            let mut served = futures_util::stream::iter(due)
                .map(|company| async move {
                    let outcome = self.serve(&company).await;
                    (company, outcome)
                })
                .buffer_unordered(AT_ONCE);
            while let Some((company, outcome)) = served.next().await {
                tally.add(&company, outcome);
            }
        }
        Ok(tally)
    }

    #[expect(clippy::disallowed_methods, reason = "the platform runs schedules when nobody asks: the one place for it")]
    async fn context(&self, company: &Slug) -> Result<TenantContext, AccessError> {
        self.registry.system_context(company, "due schedules").await
    }

    /// Runs what is due for one company, in one transaction. A schedule that cannot make its task may have ended that
    /// with an error, so then all begins again with that known.
    async fn serve(&self, company: &Slug) -> Result<Done, RunError> {
        let context = self.context(company).await?;
        let most = i32::from(self.settings.max_failures);
        let mut failing: HashMap<ScheduleId, RunFailure> = HashMap::new();
        loop {
            let mut tx = self.db.begin(&context).await?;
            match schedules::run_due(&mut tx, self.clock.now(), most, &failing).await {
                Ok(done) => {
                    tx.commit().await?;
                    return Ok(done);
                }
                Err(NotDone::Fails(id, failure)) if failing.len() < MOST_FAILING && !failing.contains_key(&id) => {
                    tx.rollback().await?;
                    failing.insert(id, failure);
                }
                Err(NotDone::Fails(..)) => {
                    tx.rollback().await?;
                    return Err(DbError::Misuse("too many of a company's schedules fail at once").into());
                }
                Err(NotDone::Database(error)) => {
                    // The connection is free for others before the reason is told.
                    let _ = tx.rollback().await;
                    return Err(error.into());
                }
            }
        }
    }
}
