//! The loop of a server that makes sums, for all tenants.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures_util::StreamExt as _;
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterDb};
use tokio_util::sync::CancellationToken;

use super::hour::{self, How, Rolled};
use super::{RollupSettings, outcomes};
use crate::store::rollup::{self as store, Hour, Lag};

/// Hours taken at a time.
const BATCH: i64 = 256;
/// From so many on they are not put off for anything: the sums are behind.
const MANY: usize = 256;
/// Nor when a look has taken so long.
const HURRY: Duration = Duration::from_secs(30);
/// Days of which hours are summed at the same time when somebody waits for it.
const AT_ONCE: usize = 2;
/// How often the time that the sums of an hour took is left to others afterwards, while calls are served.
const REST: u32 = 19;
/// That often until the same hour is summed again: one that has very many calls is not read all the time.
const REST_OF_HOUR: u32 = 100;
/// More than this an hour does not wait for that.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Tenants whose tasks are counted in one look.
const TENANTS: i64 = 256;

/// What a look came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hours whose sums were made.
    pub hours: usize,
    /// Of those, hours that got calls meanwhile and stay marked.
    pub marked: usize,
    /// Hours that another server was at.
    pub busy: usize,
    /// Hours whose sums stay because calls are gone.
    pub kept: usize,
    /// Hours and tenants that failed; they are tried again.
    pub failed: usize,
    /// Tasks counted.
    pub tasks: u64,
}

impl Tally {
    fn add(&mut self, hour: &Hour, outcome: Result<Rolled, DbError>) {
        match outcome {
            Ok(Rolled::Done { marked, .. }) => {
                self.hours += 1;
                self.marked += usize::from(marked);
            }
            Ok(Rolled::Busy) => self.busy += 1,
            Ok(Rolled::Unmarked) => {}
            Ok(Rolled::Kept { .. }) => self.kept += 1,
            Err(error) => {
                self.failed += 1;
                let Hour { tenant, day, hour } = hour;
                tracing::warn!(target: "tenantry::metering", %tenant, %day, %hour, %error, "the sums of an hour are put off");
            }
        }
    }
}

/// How much of the database the sums may take.
enum Pace<'a> {
    /// As much as there is: somebody waits.
    Full,
    /// A part, so that calls are not in the way of sums. It remembers until when hours that took long are left alone.
    Steady(&'a mut HashMap<Hour, Instant>),
}

/// Makes sums. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rollup {
    db: MeterDb,
    settings: RollupSettings,
}

impl Rollup {
    /// Does nothing yet.
    #[must_use]
    pub fn new(db: MeterDb, settings: RollupSettings) -> Self {
        Self { db, settings }
    }

    /// Looks and makes sums until `stop`. What has begun by then is finished.
    pub async fn run(self, stop: CancellationToken) {
        let mut resting = HashMap::new();
        while !stop.is_cancelled() {
            resting.retain(|_, until| *until > Instant::now());
            if let Err(error) = self.look(Pace::Steady(&mut resting), &stop).await {
                tracing::warn!(target: "tenantry::metering", %error, "hours with new calls cannot be looked for");
            }
            // Whichever comes first.
            let _ = tokio::time::timeout(self.settings.interval, stop.cancelled()).await;
        }
    }

    /// Makes the sums of all hours that are due: marked for as long as the settings say.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked. What concerns one hour is in the log and in the tally.
    pub async fn tick(&self) -> Result<Tally, DbError> {
        self.look(Pace::Full, &CancellationToken::new()).await
    }

    async fn look(&self, pace: Pace<'_>, stop: &CancellationToken) -> Result<Tally, DbError> {
        let gathered = TimeDelta::from_std(self.settings.debounce).unwrap_or(TimeDelta::zero());
        let before = self.now().await? - gathered;
        let mut tally = self.hours(before, None, pace, stop).await?;
        self.tasks(&mut tally, stop).await?;
        Ok(tally)
    }

    /// Makes the sums of all hours that are marked now, of one tenant or of all, and waits for those that others are at. `progress` is told how many are left.
    ///
    /// # Errors
    /// [`DbError`], also that of an hour.
    pub async fn settle(&self, tenant: Option<TenantId>, mut progress: impl FnMut(i64)) -> Result<Tally, DbError> {
        let before = self.now().await?;
        let mut all = Tally::default();
        loop {
            let tally = self.hours(before, tenant, Pace::Full, &CancellationToken::new()).await?;
            all.hours += tally.hours;
            all.marked += tally.marked;
            all.kept += tally.kept;
            all.failed += tally.failed;
            let tx = self.db.begin().await?;
            let left = store::due(&tx, before, tenant, BATCH).await?;
            tx.commit().await?;
            progress(i64::try_from(left.len()).unwrap_or(i64::MAX));
            if left.is_empty() {
                break;
            }
            for hour in &left {
                // Waits where the others did not, so this ends.
                let rolled = hour::roll(&self.db, hour, How::Wait).await;
                rolled.map(|rolled| all.add(hour, Ok(rolled)))?;
            }
        }
        self.tasks(&mut all, &CancellationToken::new()).await?;
        Ok(all)
    }

    /// Makes the sums of an hour whatever they are, marked or not.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn repair(&self, hour: &Hour) -> Result<Rolled, DbError> {
        hour::roll(&self.db, hour, How::Force).await
    }

    /// How far the sums are behind the calls, of one tenant or of all.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn lag(&self, tenant: Option<TenantId>) -> Result<Lag, DbError> {
        let tx = self.db.begin().await?;
        let lag = store::lag(&tx, tenant).await?;
        tx.commit().await?;
        Ok(lag)
    }

    async fn now(&self) -> Result<DateTime<Utc>, DbError> {
        let tx = self.db.begin().await?;
        let now = store::now(&tx).await?;
        tx.commit().await?;
        Ok(now)
    }

    /// Those marked before a time. One that fails or is another's is not tried again in the same look.
    async fn hours(
        &self,
        before: DateTime<Utc>,
        tenant: Option<TenantId>,
        mut pace: Pace<'_>,
        stop: &CancellationToken,
    ) -> Result<Tally, DbError> {
        let mut tally = Tally::default();
        let mut tried: HashSet<Hour> = HashSet::new();
        let hurry = Instant::now() + HURRY;
        while !stop.is_cancelled() {
            let tx = self.db.begin().await?;
            let most = BATCH + i64::try_from(tried.len()).unwrap_or(i64::MAX - BATCH);
            let due = store::due(&tx, before, tenant, most).await?;
            tx.commit().await?;
            let mut due: Vec<Hour> = due.into_iter().filter(|hour| tried.insert(*hour)).collect();
            if due.is_empty() {
                break;
            }
            if let Pace::Steady(resting) = &pace {
                due.retain(|hour| !resting.contains_key(hour));
            }
            match &mut pace {
                Pace::Steady(resting) if due.len() < MANY && Instant::now() < hurry => {
                    self.one_by_one(due, resting, hurry, stop, &mut tally).await;
                }
                _ => self.side_by_side(due, stop, &mut tally).await,
            }
        }
        Ok(tally)
    }

    async fn side_by_side(&self, due: Vec<Hour>, stop: &CancellationToken, tally: &mut Tally) {
        let mut rolling = futures_util::stream::iter(by_day(due))
            .map(|day| async move {
                let mut rolled = Vec::with_capacity(day.len());
                for hour in day {
                    if stop.is_cancelled() {
                        break;
                    }
                    rolled.push((hour, hour::roll(&self.db, &hour, How::Pass).await));
                }
                rolled
            })
            .buffer_unordered(AT_ONCE);
        while let Some(day) = rolling.next().await {
            for (hour, outcome) in day {
                tally.add(&hour, outcome);
            }
        }
    }

    async fn one_by_one(
        &self,
        due: Vec<Hour>,
        resting: &mut HashMap<Hour, Instant>,
        hurry: Instant,
        stop: &CancellationToken,
        tally: &mut Tally,
    ) {
        for hour in due {
            let begun = Instant::now();
            tally.add(&hour, hour::roll(&self.db, &hour, How::Pass).await);
            let took = begun.elapsed();
            resting.insert(hour, Instant::now() + (took * REST_OF_HOUR).min(LONGEST_REST));
            let rest = (took * REST).min(hurry.saturating_duration_since(Instant::now()));
            // Whichever comes first.
            if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    async fn tasks(&self, tally: &mut Tally, stop: &CancellationToken) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        let waiting = crate::store::outcomes::waiting(&tx, TENANTS).await?;
        tx.commit().await?;
        for (tenant, zone) in waiting {
            if stop.is_cancelled() {
                break;
            }
            match outcomes::count(&self.db, tenant, &zone).await {
                Ok(tasks) => tally.tasks += tasks,
                Err(error) => {
                    tally.failed += 1;
                    tracing::warn!(target: "tenantry::metering", %tenant, %error, "finished tasks are counted later");
                }
            }
        }
        Ok(())
    }
}

/// The hours of each day together, the days in the order of their first hours: one is at a day at a time.
fn by_day(hours: Vec<Hour>) -> Vec<Vec<Hour>> {
    let mut places: HashMap<(TenantId, NaiveDate), usize> = HashMap::new();
    let mut days: Vec<Vec<Hour>> = Vec::new();
    for hour in hours {
        let place = *places.entry((hour.tenant, hour.day)).or_insert_with(|| {
            days.push(Vec::new());
            days.len() - 1
        });
        if let Some(day) = days.get_mut(place) {
            day.push(hour);
        }
    }
    days
}
