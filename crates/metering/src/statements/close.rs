use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tenantry_core::TenantId;
use tenantry_postgres::{Actor, DbError, MeterDb};
use uuid::Uuid;

use super::show::{OLDEST, draft};
use super::{Month, Statement, StatementStatus, digest, hex};
use crate::Metering;
use crate::statements::StatementSettings;
use crate::store::statements::{self as store, Tenant};
use crate::store::{Reader, audit};

/// Tenants that are looked at together.
const PAGE: i64 = 200;
/// How often a month is tried that somebody else is closing at the same time.
const TRIES: usize = 3;

/// Why a month is not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// It goes on, or ended just now.
    #[error("`{month}` is not to be closed before {from}: late calls may still come")]
    TooEarly {
        /// The month.
        month: Month,
        /// From when on it may be.
        from: DateTime<Utc>,
    },
    /// Its hours are not summed.
    #[error("{hours} hours of `{month}` or before it are still to be summed")]
    NotSummed {
        /// The month.
        month: Month,
        /// How many.
        hours: i64,
    },
    /// Others close statements of the tenant at this moment.
    #[error("statements of the tenant are being closed by somebody else")]
    Raced,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// How to close.
#[derive(Debug, Clone, Copy)]
pub struct Closing<'a> {
    /// The last month to be closed; those before it are closed first.
    pub month: Month,
    /// What time it is.
    pub now: DateTime<Utc>,
    /// Who closes.
    pub by: &'a Actor,
    /// Whether the days that late calls have are cut short.
    pub early: bool,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// What was closed, or would be.
#[derive(Debug)]
pub struct Outcome {
    /// The statements, the earliest first. Of a dry run the first one is exact, and those after it are previews.
    pub statements: Vec<Statement>,
}

/// Closes the months of a tenant that are not closed, up to one. Killed at any point, it has closed some of them whole; what is closed
/// already is left as it is, so it can be repeated.
///
/// # Errors
/// [`CloseError`]; months before the one that it speaks of are closed.
pub async fn close(
    db: &MeterDb,
    settings: &StatementSettings,
    tenant: &Tenant,
    closing: Closing<'_>,
) -> Result<Outcome, CloseError> {
    let mut statements = Vec::new();
    let tx = db.begin().await?;
    let standing = store::standing(&mut Reader::Meter(&tx, tenant.party.id)).await?;
    tx.rollback().await?;
    let mut next = standing.next();
    while let Some(month) = next.filter(|month| *month <= closing.month) {
        let (_, end) = month.period(tenant.party.zone);
        let from = if closing.early { end } else { end + TimeDelta::days(settings.close_after_days.into()) };
        if closing.now < from {
            return Err(CloseError::TooEarly { month, from });
        }
        // What a dry run has not written is still unstated for the month after.
        let planned = if closing.dry_run { statements.len() } else { 0 };
        statements.extend(one(db, settings, tenant, month, closing, planned).await?);
        next = Some(month.next());
    }
    Ok(Outcome { statements })
}

/// Closes one month; `None` when somebody else has just done so.
async fn one(
    db: &MeterDb,
    settings: &StatementSettings,
    tenant: &Tenant,
    month: Month,
    closing: Closing<'_>,
    planned: usize,
) -> Result<Option<Statement>, CloseError> {
    let party = &tenant.party;
    for _ in 0..TRIES {
        let tx = db.begin().await?;
        let mut reader = Reader::Meter(&tx, party.id);
        // Another process may have been faster.
        if store::find(&mut reader, month).await?.is_some() {
            tx.rollback().await?;
            return Ok(None);
        }
        // The number is of the same moment as the amounts, and a number is given once: whoever has read the same moment for another
        // statement is refused below, so nothing is stated twice.
        let from = if planned == 0 { OLDEST } else { month.first_day() };
        let unstated = store::unstated(&mut reader, from, month).await?;
        if unstated.dirty_hours > 0 {
            tx.rollback().await?;
            return Err(CloseError::NotSummed { month, hours: unstated.dirty_hours });
        }
        let (mut summary, lines) = draft(party, month, &unstated.groups, settings);
        summary.status = StatementStatus::Closed;
        summary.number = Some(unstated.last_number + 1 + i32::try_from(planned).unwrap_or(0));
        summary.closed_at = Some(closing.now);
        summary.previous_digest = unstated.last_digest.as_deref().map(hex);
        let digest = digest(party.id, &summary, &lines);
        summary.digest = Some(hex(&digest));
        let digests = (digest.as_slice(), unstated.last_digest.as_deref());
        if closing.dry_run {
            tx.rollback().await?;
            return Ok(Some(Statement { summary, intact: true, lines }));
        }
        if store::insert(&tx, party.id, &summary, &lines, digests, &closing.by.name).await? {
            let details = json!({
                "number": summary.number, "cost_usd": summary.cost_usd.to_string(), "amount_usd": summary.amount_usd.to_string(),
                "digest": summary.digest, "early": closing.early,
            });
            let whose = Some(TenantId::from_uuid(party.id));
            audit::tell(&tx, whose, closing.by, "statement.close", &format!("statement/{month}"), &details).await?;
            tx.commit().await?;
            return Ok(Some(Statement { summary, intact: true, lines }));
        }
        tx.rollback().await?;
    }
    Err(CloseError::Raced)
}

/// Closes months when they are due, for as long as it is polled. Any number of servers may: each month is closed once. Dropped or killed
/// at any point, it leaves whole statements.
pub async fn keep_closed(metering: Metering) {
    let settings = &metering.settings.statements;
    let mut ticks = tokio::time::interval(settings.close_interval.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match close_due(&metering.db, settings, metering.clock.now()).await {
            Ok(0) => {}
            Ok(closed) => tracing::info!(target: "tenantry::metering", closed, "statements closed"),
            Err(error) => tracing::warn!(target: "tenantry::metering", %error, "statements cannot be closed now"),
        }
    }
}

/// Closes what is due, of all tenants.
async fn close_due(db: &MeterDb, settings: &StatementSettings, now: DateTime<Utc>) -> Result<usize, DbError> {
    let (mut closed, mut after): (usize, Option<Uuid>) = (0, None);
    let by = Actor::system("metering");
    loop {
        let tx = db.begin().await?;
        let tenants = store::tenants(&tx, after, None, PAGE).await?;
        tx.rollback().await?;
        let Some(last) = tenants.last() else { return Ok(closed) };
        after = Some(last.party.id);
        for tenant in &tenants {
            // The month that the clocks showed when the last calls had had their days.
            let due = Month::of(now - TimeDelta::days(settings.close_after_days.into()), tenant.party.zone);
            let Some(month) = before(due) else { continue };
            let closing = Closing { month, now, by: &by, early: false, dry_run: false };
            match close(db, settings, tenant, closing).await {
                Ok(outcome) => closed += outcome.statements.len(),
                Err(CloseError::Database(error)) => return Err(error),
                // tried again with the next tick
                Err(error) => {
                    tracing::info!(target: "tenantry::metering", tenant = tenant.slug, %error, "a statement is not closed yet");
                }
            }
        }
    }
}

fn before(month: Month) -> Option<Month> {
    month.first_day().pred_opt().map(Month::of_day)
}
