//! The sums of one hour.

use std::collections::BTreeSet;

use tenantry_postgres::{DbError, MeterDb};

use super::day;
use crate::store::outcomes;
use crate::store::rollup::{self as store, Hour};

/// What came of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rolled {
    /// Its sums are made.
    Done {
        /// How many calls they have.
        calls: i64,
        /// Whether calls came while they were made, so that it is still marked.
        marked: bool,
    },
    /// Somebody else makes sums of its day.
    Busy,
    /// It is not marked any more.
    Unmarked,
    /// There are fewer calls than are in its sums: the old ones are gone, so the sums stay. It is not marked any more.
    Kept {
        /// Calls that there are.
        calls: i64,
        /// Calls in the sums.
        summed: i64,
    },
}

/// How to make sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Pass over an hour that somebody else is at.
    Pass,
    /// Wait for whoever is at it.
    Wait,
    /// Also of an hour that is not marked, and though its sums have more calls than there are.
    Force,
    /// As if a mark could not be written while sums are made, to show what is lost then.
    #[cfg(test)]
    Blind,
}

pub(super) async fn roll(db: &MeterDb, hour: &Hour, how: How) -> Result<Rolled, DbError> {
    let held = match how {
        How::Pass => day::try_hold(db, hour.tenant, hour.day).await?,
        _ => Some(day::hold(db, hour.tenant, &BTreeSet::from([hour.day])).await?),
    };
    let Some(tx) = held else { return Ok(Rolled::Busy) };
    let mark = store::read_mark(&tx, hour).await?;
    if mark.is_none() && how != How::Force {
        tx.rollback().await?;
        return Ok(Rolled::Unmarked);
    }
    let summed = store::clear_hour(&tx, hour).await?;
    let calls = store::sum_hour(&tx, hour).await?;
    if calls < summed && how != How::Force {
        tx.rollback().await?;
        return keep(db, hour, calls, summed).await;
    }
    store::sum_day(&tx, hour.tenant, hour.day).await?;
    outcomes::reconsider(&tx, hour).await?;
    let marked = match &mark {
        #[cfg(test)]
        Some(_) if how == How::Blind => store::unmark_blindly(&tx, hour).await.map(|()| false)?,
        Some(mark) => !store::unmark(&tx, hour, mark).await?,
        None => false,
    };
    tx.commit().await?;
    Ok(Rolled::Done { calls, marked })
}

/// Calls are never taken back, so where there are fewer than before, their partition was dropped when its time was over. What came after that
/// cannot be summed with what is gone.
async fn keep(db: &MeterDb, hour: &Hour, calls: i64, summed: i64) -> Result<Rolled, DbError> {
    let tx = db.begin().await?;
    store::unmark_blindly(&tx, hour).await?;
    tx.commit().await?;
    let Hour { tenant, day, hour } = hour;
    tracing::error!(
        target: "tenantry::metering",
        %tenant, %day, %hour, calls, summed,
        "the sums of an hour stay as they are: it has {calls} calls, and {summed} are in its sums"
    );
    Ok(Rolled::Kept { calls, summed })
}
