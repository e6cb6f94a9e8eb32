//! The partitions of the shared tables: made before they are needed, dropped when they are old. Only their owner can, so this is
//! the migrator's work, on behalf of whoever writes to them.

use chrono::{Months, NaiveDate};
use tenantry_core::quote_identifier;
use tokio_postgres::types::Type;

use crate::clients::{Clients, typed};
use crate::config::DatabaseConfig;
use crate::connect::Logins;
use crate::error::DbError;

/// One server at a time makes and drops partitions.
const KEEP_LOCK: i64 = 7_468_657_466;
/// Months that are made in advance.
const AHEAD: i32 = 3;

/// A transaction that waits for nobody for long: whoever waits for a lock on a partitioned table has all others wait behind it.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '60s'";

/// How many days the rows of each table are kept. A partition is a month, and goes when its last day is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `provider_api_calls`.
    pub calls: u32,
    /// `hourly_metrics`.
    pub hours: u32,
    /// `daily_metrics`.
    pub days: u32,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Partitions made.
    pub made: i32,
    /// Partitions dropped, by name.
    pub dropped: Vec<String>,
}

/// Makes and drops partitions. Cheap to clone; connects when it is needed.
#[derive(Debug, Clone)]
pub struct Partitions {
    migrator: Clients,
}

impl Partitions {
    /// With a connection of its own.
    #[must_use]
    pub fn new(database: &DatabaseConfig) -> Self {
        Self { migrator: Clients::new(database.clone(), Logins::MIGRATOR, 1) }
    }

    /// Makes what is missing up to three months ahead, and drops what is older than it is to be kept; `None` when another server is at it.
    ///
    /// # Errors
    /// [`DbError`]; a partition that is being read for long is dropped another time.
    pub async fn keep(&self, retention: Retention) -> Result<Option<Kept>, DbError> {
        let client = self.migrator.get().await?;
        client.batch_execute(BEGIN).await?;
        let lock = format!("SELECT pg_try_advisory_xact_lock({KEEP_LOCK})");
        if !client.query_typed(&lock, &[]).await?.first().is_some_and(|row| row.get(0)) {
            client.batch_execute("ROLLBACK").await?;
            client.give_back();
            return Ok(None);
        }
        client.batch_execute(&format!("SET LOCAL ROLE {}", Logins::OWNER)).await?;
        let today: NaiveDate = first(&client, "SELECT (now() AT TIME ZONE 'UTC')::date").await?;
        let behind = months_between(edge(today, retention.calls), today);
        let made = first(&client, &format!("SELECT analytics.ensure_partitions({behind}, {AHEAD})")).await?;
        let mut kept = Kept { made, dropped: Vec::new() };
        let all = "SELECT p.relname::text, c.relname::text FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent \
                   JOIN pg_class c ON c.oid = i.inhrelid WHERE p.relnamespace = 'analytics'::regnamespace AND p.relkind = 'p' ORDER BY 2";
        for row in client.query_typed(all, &[]).await? {
            let (parent, child): (String, String) = (row.get(0), row.get(1));
            let days = match parent.as_str() {
                "provider_api_calls" => retention.calls,
                "hourly_metrics" => retention.hours,
                "daily_metrics" => retention.days,
                _ => continue,
            };
            if month_of(&child, &parent).is_some_and(|month| month < first_of(edge(today, days))) {
                client.batch_execute(&format!("DROP TABLE analytics.{}", quote_identifier(&child))).await?;
                kept.dropped.push(child);
            }
        }
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(Some(kept))
    }

    /// Makes the months that these days are in, where they are not too old to be kept and not further ahead than is ever made.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn ensure(&self, days: &[NaiveDate], retention: Retention) -> Result<(), DbError> {
        let client = self.migrator.get().await?;
        client.batch_execute(BEGIN).await?;
        // Two servers that make the same table: the second would fail.
        client
            .batch_execute(&format!("SELECT pg_advisory_xact_lock({KEEP_LOCK}); SET LOCAL ROLE {}", Logins::OWNER))
            .await?;
        let today: NaiveDate = first(&client, "SELECT (now() AT TIME ZONE 'UTC')::date").await?;
        let oldest = edge(today, retention.calls);
        let behind =
            days.iter().filter(|day| **day >= first_of(oldest)).min().map_or(0, |day| months_between(*day, today));
        let sql = "SELECT analytics.ensure_partitions($1, $2)";
        client.query_typed(sql, &[typed(&behind.max(0), Type::INT4), typed(&AHEAD, Type::INT4)]).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(())
    }
}

async fn first<T: for<'a> tokio_postgres::types::FromSql<'a>>(
    client: &tokio_postgres::Client,
    sql: &str,
) -> Result<T, DbError> {
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map(|row| row.get(0)).ok_or(DbError::Misuse("a statement for one row gave none"))
}

/// The oldest day that is kept.
fn edge(today: NaiveDate, days: u32) -> NaiveDate {
    today.checked_sub_days(chrono::Days::new(days.into())).unwrap_or(NaiveDate::MIN)
}

fn first_of(day: NaiveDate) -> NaiveDate {
    use chrono::Datelike as _;
    day.with_day(1).unwrap_or(day)
}

/// From the month of one day to that of another.
fn months_between(from: NaiveDate, to: NaiveDate) -> i32 {
    use chrono::Datelike as _;
    let month = |day: NaiveDate| day.year() * 12 + i32::try_from(day.month()).unwrap_or(1);
    month(to) - month(from)
}

/// The month in a partition's name.
fn month_of(child: &str, parent: &str) -> Option<NaiveDate> {
    let (year, month) = child.strip_prefix(parent)?.strip_prefix('_')?.split_once('_')?;
    NaiveDate::from_ymd_opt(year.parse().ok()?, 1, 1)?
        .checked_add_months(Months::new(month.parse::<u32>().ok()?.checked_sub(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_goes_when_its_last_day_is_too_old() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let goes = |child: &str, today: &str, days| {
            month_of(child, "provider_api_calls").is_some_and(|month| month < first_of(edge(day(today), days)))
        };
        assert!(!goes("provider_api_calls_2026_08", "2026-11-29", 90), "the 31st of August is 90 days old");
        assert!(goes("provider_api_calls_2026_08", "2026-11-30", 90));
        assert!(!goes("provider_api_calls_2026_13_x", "2026-11-30", 90), "no partition of ours");
        assert_eq!(months_between(day("2025-12-31"), day("2026-01-01")), 1);
    }
}
