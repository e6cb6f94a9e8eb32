use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tenantry_postgres::DbError;
use utoipa::ToSchema;
use workforce::text_enum;

use super::{MeteringHealth, health};
use crate::Metering;
use crate::reports::AlertSettings;
use crate::spool::SpoolState;

text_enum! {
    /// What operators are warned of.
    #[derive(PartialOrd, Ord)]
    pub enum AlertName("alert") {
        /// Calls that were never seen to end.
        UnsettledCalls = "unsettled_calls",
        /// Calls without a price.
        UnpricedCalls = "unpriced_calls",
        /// Sums that are older than their calls.
        RollupLag = "rollup_lag",
        /// A day of which less was captured than is billed.
        CapturedShort = "captured_short",
        /// Months that have no partitions yet.
        PartitionsMissing = "partitions_missing",
        /// Calls that wait on this server's disk for the database.
        SpoolBacklog = "spool_backlog",
        /// Calls that the database refuses for what they are.
        RejectedCalls = "rejected_calls",
    }
}

/// Something that an operator should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// What it is.
    pub name: AlertName,
    /// What is so, and the limit.
    pub detail: String,
}

/// How often this server has warned, since it started.
#[derive(Debug, Default)]
pub struct Watch {
    fired: [AtomicU64; AlertName::ALL.len()],
}

impl Watch {
    /// How often it has begun to warn of something.
    #[must_use]
    pub fn fired(&self, name: AlertName) -> u64 {
        self.counter(name).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn counter(&self, name: AlertName) -> Option<&AtomicU64> {
        AlertName::ALL.iter().zip(&self.fired).find(|(known, _)| **known == name).map(|(_, counter)| counter)
    }
}

/// What is to be looked at; of a server's spool where there is one.
#[must_use]
pub fn alerts(health: &MeteringHealth, spool: Option<&SpoolState>, limits: &AlertSettings) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let mut warn = |name, detail: String| alerts.push(Alert { name, detail });
    if let Some(spool) = spool {
        let limit = limits.spool_lag.as_secs_f64();
        if spool.full || spool.oldest_age_seconds > limit {
            let (records, age) = (spool.records, spool.oldest_age_seconds);
            let full = if spool.full { "the spool is full: " } else { "" };
            warn(
                AlertName::SpoolBacklog,
                format!("{full}{records} calls wait for the database, one for {age:.0} s; the limit is {limit} s"),
            );
        }
        if spool.rejected > 0 {
            let rejected = spool.rejected;
            warn(
                AlertName::RejectedCalls,
                format!("the database refuses {rejected} calls; they lie in `rejected.jsonl`"),
            );
        }
    }
    let day = &health.last_24_hours;
    if day.unsettled_calls >= limits.unsettled_calls.max(1) {
        let (calls, limit) = (day.unsettled_calls, limits.unsettled_calls);
        warn(
            AlertName::UnsettledCalls,
            format!("{calls} calls of 24 hours were never seen to end; the limit is {limit}"),
        );
    }
    if day.unpriced_calls >= limits.unpriced_calls.max(1) {
        let (calls, limit) = (day.unpriced_calls, limits.unpriced_calls);
        warn(AlertName::UnpricedCalls, format!("{calls} calls of 24 hours have no price; the limit is {limit}"));
    }
    let lag = limits.rollup_lag.as_secs();
    if u64::try_from(health.rollup.lag_seconds).unwrap_or(0) > lag {
        let (waiting, hours) = (health.rollup.lag_seconds, health.rollup.dirty_hours);
        warn(AlertName::RollupLag, format!("{hours} hours are not summed, one for {waiting} s; the limit is {lag} s"));
    }
    if let Some(least) = health.least_captured.as_ref().filter(|least| least.part < limits.captured_at_least) {
        let (part, provider, day) = (least.part.normalize(), &least.provider, least.day);
        let limit = limits.captured_at_least;
        warn(
            AlertName::CapturedShort,
            format!("{part} of the bill of `{provider}` for {day} was captured; the limit is {limit}"),
        );
    }
    if health.partitions_ahead < limits.partitions_ahead {
        let (months, limit) = (health.partitions_ahead, limits.partitions_ahead);
        warn(AlertName::PartitionsMissing, format!("{months} months ahead have partitions; the limit is {limit}"));
    }
    alerts
}

/// Looks for what operators should know and says in the log when it begins and when it ends, for as long as it is polled.
pub async fn keep_watch(metering: Metering) {
    let limits = &metering.settings.alerts;
    let mut warned = BTreeSet::new();
    let mut ticks = tokio::time::interval(limits.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match look(&metering).await {
            Ok(health) => tell(&metering.watch, &alerts(&health, Some(&metering.health()), limits), &mut warned),
            Err(error) => tracing::warn!(target: "tenantry::metering", %error, "the metering cannot be looked at"),
        }
    }
}

async fn look(metering: &Metering) -> Result<MeteringHealth, DbError> {
    let tx = metering.db.begin().await?;
    let health = health(&tx, metering.clock.now()).await?;
    tx.rollback().await?;
    Ok(health)
}

/// Says what has begun and what has ended since the last look.
fn tell(watch: &Watch, alerts: &[Alert], warned: &mut BTreeSet<AlertName>) {
    let now: BTreeSet<AlertName> = alerts.iter().map(|alert| alert.name).collect();
    for alert in alerts.iter().filter(|alert| !warned.contains(&alert.name)) {
        if let Some(counter) = watch.counter(alert.name) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        tracing::warn!(target: "tenantry::metering", alert = %alert.name, detail = alert.detail, "metering needs to be looked at");
    }
    for name in warned.difference(&now) {
        tracing::info!(target: "tenantry::metering", alert = %name, "metering is well again");
    }
    *warned = now;
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rust_decimal::Decimal;

    use super::super::{Captured, IngestHealth, LastDay, RollupHealth};
    use super::*;

    fn well() -> MeteringHealth {
        MeteringHealth {
            at: DateTime::UNIX_EPOCH,
            ingest: IngestHealth {
                calls: 0,
                last_recorded_at: None,
                lag_p50_seconds: None,
                lag_p95_seconds: None,
                lag_longest_seconds: None,
            },
            rollup: RollupHealth { dirty_hours: 0, oldest_dirty_at: None, lag_seconds: 0 },
            last_24_hours: LastDay {
                calls: 100,
                unpriced_calls: 0,
                estimated_calls: 0,
                unsettled_calls: 0,
                cost_usd: Decimal::ZERO,
            },
            least_captured: None,
            partitions_ahead: 3,
        }
    }

    #[test]
    fn each_limit_has_its_alert() {
        let limits = AlertSettings::default();
        let names = |health: &MeteringHealth, spool: Option<&SpoolState>| {
            alerts(health, spool, &limits).into_iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>()
        };
        assert!(names(&well(), Some(&SpoolState::default())).is_empty());
        let mut ill = well();
        ill.last_24_hours.unsettled_calls = 10;
        ill.last_24_hours.unpriced_calls = 1;
        ill.rollup.lag_seconds = 301;
        let day = "2026-10-01".parse().unwrap();
        ill.least_captured = Some(Captured { provider: "openai".into(), day, part: "0.979".parse().unwrap() });
        ill.partitions_ahead = 0;
        let spool = SpoolState { oldest_age_seconds: 61.0, rejected: 1, ..SpoolState::default() };
        let mut found = names(&ill, Some(&spool));
        found.rotate_left(2);
        let all: Vec<&str> = AlertName::ALL.iter().map(|name| name.as_str()).collect();
        assert_eq!(found, all);
    }

    #[test]
    fn an_alert_is_told_when_it_begins() {
        let (watch, mut warned) = (Watch::default(), BTreeSet::new());
        let mut ill = well();
        ill.last_24_hours.unpriced_calls = 5;
        let found = alerts(&ill, None, &AlertSettings::default());
        for expected in [1, 1] {
            tell(&watch, &found, &mut warned);
            assert_eq!(watch.fired(AlertName::UnpricedCalls), expected);
        }
        tell(&watch, &[], &mut warned);
        tell(&watch, &found, &mut warned);
        assert_eq!((watch.fired(AlertName::UnpricedCalls), watch.fired(AlertName::RollupLag)), (2, 0));
    }
}
