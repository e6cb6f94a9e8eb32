//! A run: its waves, its workers, its end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tenantry_core::{Clock, quote_literal};

use super::error::MigrateError;
use super::event::{Event, Events, Outcome, Report};
use super::keeper::Keeper;
use super::options::{Options, millis};
use super::plan::{self, Pending, Wave};
use super::source::{Migration, MigrationSet};
use super::step::{Direction, Limits};
use super::tally::Tally;
use super::tenant::{Done, Session};
use crate::config::DatabaseConfig;
use crate::error::DbError;

/// How often the clock is read while a window is closed.
const LOOK: Duration = Duration::from_secs(5);

pub(super) struct Run<'a> {
    pub(super) database: &'a DatabaseConfig,
    pub(super) set: &'a MigrationSet,
    pub(super) options: &'a Options,
    pub(super) events: &'a Events,
    pub(super) clock: &'a dyn Clock,
    pub(super) keeper: &'a Keeper,
    pub(super) id: i64,
    pub(super) direction: Direction,
    pub(super) target: i32,
    /// The highest version whose checksum is known to be in the registry.
    recorded: AtomicI32,
    tally: Mutex<Tally>,
    sessions: Mutex<Vec<Session>>,
    next: Mutex<Option<Instant>>,
}

impl<'a> Run<'a> {
    #[expect(clippy::too_many_arguments, reason = "each is another thing that a run needs, and there is one caller")]
    pub(super) fn new(
        database: &'a DatabaseConfig,
        set: &'a MigrationSet,
        options: &'a Options,
        events: &'a Events,
        clock: &'a dyn Clock,
        keeper: &'a Keeper,
        id: i64,
        direction: Direction,
        target: i32,
        recorded: i32,
    ) -> Self {
        Self {
            database,
            set,
            options,
            events,
            clock,
            keeper,
            id,
            direction,
            target,
            recorded: AtomicI32::new(recorded),
            tally: Mutex::default(),
            sessions: Mutex::default(),
            next: Mutex::default(),
        }
    }

    /// Does all waves, then whoever appeared meanwhile, and writes how it ended.
    pub(super) async fn all(&self, pending: Vec<Pending>) -> Result<Report, MigrateError> {
        let begun = Instant::now();
        let total = pending.len();
        self.events.send(Event::Started {
            run: self.id,
            direction: self.direction.as_str(),
            target: self.target,
            tenants: total,
        });
        let outcome = self.waves(plan::waves(pending, self.options)).await;
        let (outcome, error) = match outcome {
            Ok(outcome) => (outcome, None),
            // Without the database there is nothing to write to, and the next run does it.
            Err(error @ (MigrateError::Fenced(_) | MigrateError::Database(DbError::Unavailable(_)))) => {
                return Err(error);
            }
            Err(error) => (Outcome::Stopped(error.to_string()), Some(error)),
        };
        let mut report = self.report(outcome, begun).await?;
        match self.close(&report).await {
            // Its disk is full, perhaps. Who failed is told all the same; the next run closes the row.
            Err(MigrateError::Database(refused)) if refused.sqlstate().is_some() => {
                if !matches!(report.outcome, Outcome::Stopped(_)) {
                    report.outcome = Outcome::Stopped(format!("the run's end cannot be written: {refused}"));
                }
            }
            closed => closed?,
        }
        self.events.send(Event::Finished(report.clone()));
        match error {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    async fn waves(&self, waves: Vec<Wave>) -> Result<Outcome, MigrateError> {
        let mut number = 0;
        let last = waves.len();
        for wave in waves {
            number += 1;
            self.wave(number, wave).await?;
            // After the last wave there is nothing to stop.
            if number < last {
                self.tally().check_share(self.options);
            }
            if let Some(halt) = self.tally().halt.clone() {
                return Ok(halt);
            }
        }
        // Tenants that an older program has created meanwhile. Each round meets new ones only, so it ends.
        loop {
            let pending = plan::pending(
                &*self.keeper.client().await?,
                self.direction == Direction::Down,
                self.target,
                self.options,
            )
            .await?;
            let tenants = plan::unmet(pending, &self.tally().met);
            if tenants.is_empty() {
                break;
            }
            number += 1;
            self.wave(number, Wave { name: "late".to_owned(), canary: false, tenants }).await?;
            if let Some(halt) = self.tally().halt.clone() {
                return Ok(halt);
            }
        }
        Ok(if self.tally().failed.is_empty() { Outcome::Done } else { Outcome::Failed })
    }

    async fn wave(&self, number: usize, wave: Wave) -> Result<(), MigrateError> {
        let Wave { name, canary, tenants } = wave;
        self.events.send(Event::Wave { number, name, tenants: tenants.len() });
        let workers = self.options.jobs.clamp(1, tenants.len().max(1));
        let queue = Mutex::new(VecDeque::from(tenants));
        let outcomes = join_all((0..workers).map(|_| self.worker(&queue, canary))).await;
        outcomes.into_iter().collect()
    }

    async fn worker(&self, queue: &Mutex<VecDeque<Pending>>, canary: bool) -> Result<(), MigrateError> {
        let mut session = self.sessions().pop();
        while self.may_begin().await {
            let Some(tenant) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
            let begun = Instant::now();
            let done = match self.tenant(&mut session, &tenant).await {
                Ok(done) => done,
                Err(error) => {
                    // The others end as well.
                    self.tally().stop(error.to_string());
                    return Err(error);
                }
            };
            self.note(&tenant, done, begun.elapsed(), canary).await?;
        }
        if let Some(session) = session {
            self.sessions().push(session);
        }
        Ok(())
    }

    async fn note(&self, tenant: &Pending, done: Done, took: Duration, canary: bool) -> Result<(), MigrateError> {
        let slug = tenant.slug.clone();
        let done = match done {
            // It is found in its new place when all others are done.
            Done::Moved if self.tally().moved.insert(tenant.id) => return Ok(()),
            Done::Moved => Done::Skipped("it was moved meanwhile"),
            other => other,
        };
        match done {
            Done::Left | Done::Moved => return Ok(()),
            Done::Migrated { attempts } => {
                self.with_tally(|tally| {
                    tally.migrated += 1;
                    tally.met.insert(tenant.id);
                });
                let (from, to) = (tenant.version, self.target);
                self.events.send(Event::Migrated { slug, from, to, duration_ms: millis(took), attempts });
            }
            Done::Skipped(reason) => {
                self.with_tally(|tally| {
                    tally.skipped += 1;
                    tally.met.insert(tenant.id);
                });
                self.keeper.client().await?.batch_execute(&self.skipped(tenant, reason)).await?;
                self.events.send(Event::Skipped { slug, reason: reason.to_owned() });
            }
            Done::Failed(failure) => {
                self.with_tally(|tally| {
                    tally.met.insert(tenant.id);
                    tally.fail(failure.clone(), canary, self.options);
                });
                self.events.send(Event::Failed(failure));
            }
        }
        Ok(())
    }

    fn skipped(&self, tenant: &Pending, reason: &str) -> String {
        format!(
            "INSERT INTO public.migration_ledger (run_id, tenant_id, version, direction, state, started_at, finished_at, error) \
             VALUES ({}, '{}', {}, '{}', 'skipped', now(), now(), {})",
            self.id,
            tenant.id,
            self.target,
            self.direction.as_str(),
            quote_literal(reason)
        )
    }

    /// Waits for the window and for the rate; false when no other tenant is to be begun.
    async fn may_begin(&self) -> bool {
        let mut paused = false;
        loop {
            if self.halted() {
                return false;
            }
            let Some(closed) = self.options.window.and_then(|window| window.opens_in(self.clock.now())) else { break };
            if !paused {
                let until = self.clock.now() + chrono::TimeDelta::from_std(closed).unwrap_or_default();
                self.events.send(Event::Paused { until });
                paused = true;
            }
            self.wait(closed.min(LOOK)).await;
        }
        if paused {
            self.events.send(Event::Resumed);
        }
        let Some(rate) = self.options.rate.filter(|rate| *rate > 0) else { return true };
        let wait = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let turn = next.unwrap_or(now).max(now);
            *next = Some(turn + Duration::from_secs(1) / rate);
            turn - now
        };
        self.wait(wait).await
    }

    /// False when the run was ended meanwhile.
    pub(super) async fn wait(&self, time: Duration) -> bool {
        if !time.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = self.options.stop.asked() => {}
            }
        }
        !self.halted()
    }

    /// No other tenant is begun.
    pub(super) fn halt(&self, reason: String) {
        self.tally().stop(reason);
    }

    fn halted(&self) -> bool {
        let mut tally = self.tally();
        if self.options.stop.is_asked() {
            tally.halt.get_or_insert(Outcome::Interrupted);
        }
        tally.halt.is_some()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally());
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_recorded(&self, version: i32) -> bool {
        self.recorded.load(Ordering::Relaxed) >= version
    }

    pub(super) fn record(&self, version: i32) {
        self.recorded.fetch_max(version, Ordering::Relaxed);
    }

    pub(super) const fn limits(&self) -> Limits {
        Limits { lock: self.options.lock_timeout, statement: self.options.statement_timeout }
    }

    /// The steps from a version to the target.
    pub(super) fn steps(&self, version: i32) -> Vec<&Migration> {
        let between = |from: i32, to: i32| self.set.all().iter().filter(move |m| m.version > from && m.version <= to);
        match self.direction {
            Direction::Up => between(version, self.target).collect(),
            Direction::Down => between(self.target, version).rev().collect(),
        }
    }

    async fn report(&self, outcome: Outcome, begun: Instant) -> Result<Report, MigrateError> {
        let client = self.keeper.client().await?;
        let pending = plan::pending(&client, self.direction == Direction::Down, self.target, self.options).await?;
        drop(client);
        let tally = self.tally();
        let mut failed = tally.failed.clone();
        failed.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(Report {
            run: Some(self.id),
            direction: self.direction.as_str(),
            target: self.target,
            outcome,
            migrated: tally.migrated,
            skipped: tally.skipped,
            remaining: pending.len().saturating_sub(failed.len()),
            failed,
            duration_ms: millis(begun.elapsed()),
        })
    }

    /// Ends the run's row. This commit waits for the disk, and with it for all before it.
    async fn close(&self, report: &Report) -> Result<(), MigrateError> {
        let reason = match &report.outcome {
            Outcome::Stopped(reason) => quote_literal(reason),
            _ => "NULL".to_owned(),
        };
        let details = serde_json::json!({
            "direction": report.direction, "target": report.target, "outcome": report.outcome.as_str(),
            "migrated": report.migrated, "failed": report.failed.len(), "skipped": report.skipped, "remaining": report.remaining,
        });
        let actor = &self.options.actor;
        let sql = format!(
            "UPDATE public.migration_runs SET ended_at = clock_timestamp(), outcome = '{outcome}', reason = {reason}, \
               migrated = {migrated}, failed = {failed}, skipped = {skipped} WHERE id = {run}; \
             INSERT INTO audit.events (actor_kind, actor, action, target, details) \
               VALUES ({kind}, {name}, 'fleet.migrate.end', 'migration_run/{run}', {details})",
            outcome = report.outcome.as_str(),
            migrated = report.migrated,
            failed = report.failed.len(),
            skipped = report.skipped,
            run = self.id,
            kind = quote_literal(actor.kind),
            name = quote_literal(&actor.name),
            details = quote_literal(&details.to_string()),
        );
        Ok(self.keeper.client().await?.batch_execute(&sql).await?)
    }
}
