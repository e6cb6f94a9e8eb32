//! What a server does without being asked, from its start to its end. A new one is a line in [`Jobs::start`].

use std::sync::Arc;
use std::time::Duration;

use metering::budgets::Notifier;
use metering::rollup::Rollup;
use tenantry_core::SystemClock;
use tenantry_postgres::{Actor, Provisioner};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workforce::Scheduler;
use workforce::keychain::oauth;

use crate::quotas::QuotaWatch;
use crate::{AppState, Settings};

/// The pause after each warm schema: making one keeps a core of the database busy for a moment, and tenants are being served.
const WARM_PAUSE: Duration = Duration::from_millis(200);
/// How often tenants are looked for whose time to pay is over.
const DUNNING: Duration = Duration::from_secs(60);
/// Between two looks for tokens that are due.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
/// How long an end waits for schedules that are being run. One that is cut off is undone, and run by another server.
const LAST_RUNS: Duration = Duration::from_secs(10);
/// How long an end waits for notices of budgets that are being told. One that is cut off is told again.
const LAST_NOTICES: Duration = Duration::from_secs(3);
/// How long an end waits for sums that are being made. Those that are cut off are undone, and the hour stays marked.
const LAST_SUMS: Duration = Duration::from_secs(5);

/// The jobs of a running server.
pub(crate) struct Jobs {
    stop: CancellationToken,
    /// What can be left in the middle: another server, or the next start, takes it up.
    endless: Vec<JoinHandle<()>>,
    /// What is told to end and then waited for, with its name and for how long.
    ending: Vec<(&'static str, JoinHandle<()>, Duration)>,
}

impl Jobs {
    /// Starts all that the settings ask for.
    pub(crate) fn start(state: &AppState, settings: &Settings) -> Self {
        let mut jobs = Self { stop: CancellationToken::new(), endless: Vec::new(), ending: Vec::new() };
        let (registry, db) = (state.tenancy.registry().clone(), state.tenancy.db().clone());
        let warm = usize::from(settings.warm);
        if warm > 0 {
            // One that is being made ends with its connection, and the database takes it back.
            let provisioner = state.provisioner.clone();
            jobs.endless(async move { provisioner.keep_warm(warm, WARM_PAUSE).await });
        }
        jobs.endless(suspend_overdue(state.provisioner.clone()));
        // A renewal that is under way is taken up by another server when its lease is over.
        jobs.endless(oauth::keep_fresh(registry.clone(), db.clone(), state.keychain.clone(), RENEWAL_PAUSE));
        let interval = settings.quotas.measure_interval;
        if !interval.is_zero() {
            // Whatever was not measured is due for another server.
            let watch = QuotaWatch::new(state, interval);
            jobs.endless(async move { watch.run().await });
        }
        if !settings.metering.statements.close_interval.is_zero() {
            // A month is closed whole or not at all.
            jobs.endless(metering::statements::keep_closed(state.metering.clone()));
        }
        if !settings.metering.alerts.interval.is_zero() {
            jobs.endless(metering::reports::keep_watch(state.metering.clone()));
        }
        let metering = state.metering.clone();
        jobs.endless(async move { metering.prices.keep_current(&metering.db).await });
        let swept = db.clone();
        jobs.endless(async move { swept.keep_events_swept().await });
        let (keychain, metering) = (state.keychain.clone(), &state.metering);
        let clock = Arc::clone(&metering.clock);
        let notifier = Notifier::new(registry.clone(), db.clone(), keychain, metering.db.clone(), clock);
        jobs.ending("budget notices", notifier.run(jobs.stop.clone()), LAST_NOTICES);
        if settings.scheduler.enabled {
            let scheduler = Scheduler::new(registry, db, Arc::new(SystemClock), settings.scheduler.clone());
            jobs.ending("schedules", scheduler.run(jobs.stop.clone()), LAST_RUNS);
        }
        if settings.metering.rollup.enabled {
            let rollup = Rollup::new(state.metering.db.clone(), settings.metering.rollup.clone());
            jobs.ending("sums", rollup.run(jobs.stop.clone()), LAST_SUMS);
        }
        jobs
    }

    fn endless(&mut self, job: impl Future<Output = ()> + Send + 'static) {
        self.endless.push(tokio::spawn(job));
    }

    fn ending(&mut self, name: &'static str, job: impl Future<Output = ()> + Send + 'static, patience: Duration) {
        self.ending.push((name, tokio::spawn(job), patience));
    }

    /// What tells those that end by themselves to do so; they may begin to when the server stops taking requests.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends all.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        for job in self.endless {
            job.abort();
        }
        for (name, mut job, patience) in self.ending {
            if tokio::time::timeout(patience, &mut job).await.is_err() {
                job.abort();
                tracing::warn!(target: "tenantry::jobs", job = name, "what `{name}` had begun is left to another server or the next start");
            }
        }
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
