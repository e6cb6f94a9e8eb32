//! The lock against two runs at once, and the connection that holds it and writes what is no tenant's own.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

use super::error::MigrateError;
use crate::config::DatabaseConfig;
use crate::connect::{Logins, connect};
use crate::error::DbError;

/// Held by one session as long as its run lives. The session's end gives it back, however the run ends.
const RUN_LOCK: i64 = 7_468_657_464;

/// How the sessions of runs call themselves. Whoever holds the lock ends all others of that name: they belong to dead runs.
const NAME: &str = "tenantry migrate";

/// How long a lock is asked for again before somebody is told that it is taken.
const SETTLE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Keeper {
    database: DatabaseConfig,
    patience: Duration,
    client: Mutex<Client>,
}

impl Keeper {
    /// Takes the lock, or says who holds it.
    pub(super) async fn take(database: &DatabaseConfig, patience: Duration) -> Result<Self, MigrateError> {
        let deadline = tokio::time::Instant::now() + SETTLE;
        let client = loop {
            match locked(database).await {
                Ok(client) => break client,
                // Whoever takes the lock at this moment ends all other sessions; and the server may not have noticed yet that
                // the last run has ended.
                Err(MigrateError::Busy(_) | MigrateError::Database(DbError::Unavailable(_)))
                    if tokio::time::Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE / 5).await;
        };
        // What is left of a run that was killed must not work on beside this one.
        end_others(&client).await?;
        Ok(Self { database: database.clone(), patience, client: Mutex::new(client) })
    }

    /// The connection that holds the lock. Where it was lost, it is opened anew, as long as nobody else has taken the lock.
    pub(super) async fn client(&self) -> Result<MutexGuard<'_, Client>, MigrateError> {
        let mut client = self.client.lock().await;
        if client.is_closed() {
            *client = self.retake().await?;
        }
        Ok(client)
    }

    /// Gives the lock back at once; without this it goes with the session, a moment later.
    pub(super) async fn release(&self) {
        // Whatever stands in the way has taken the lock with it.
        let _ = self.client.lock().await.batch_execute("SELECT pg_advisory_unlock_all()").await;
    }

    async fn retake(&self) -> Result<Client, MigrateError> {
        let deadline = tokio::time::Instant::now() + self.patience;
        loop {
            let attempt = async {
                let client = session(&self.database).await?;
                let holder = lock(&client).await?;
                Ok::<_, DbError>((client, holder))
            };
            let in_time = tokio::time::Instant::now() < deadline;
            match attempt.await {
                Ok((client, None)) => return Ok(client),
                // The server may not have noticed yet that our own lost session is gone.
                Ok((_, Some(holder))) if !in_time || !holder.contains(&own_name()) => {
                    return Err(MigrateError::Fenced(holder));
                }
                Err(error @ DbError::Unavailable(_)) if !in_time => return Err(error.into()),
                Ok(_) | Err(DbError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn locked(database: &DatabaseConfig) -> Result<Client, MigrateError> {
    let client = session(database).await?;
    match lock(&client).await? {
        None => Ok(client),
        Some(holder) => Err(MigrateError::Busy(holder)),
    }
}

/// A session of this run.
pub(super) async fn session(database: &DatabaseConfig) -> Result<Client, DbError> {
    let client = connect(database, Logins::MIGRATOR).await?;
    client.batch_execute(&format!("SET application_name = {}", tenantry_core::quote_literal(&own_name()))).await?;
    Ok(client)
}

/// Who runs: at most 63 bytes are kept by the server.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(20).collect();
    format!("{NAME}, process {} on {}", std::process::id(), if host.is_empty() { "?" } else { &host })
}

/// Takes the lock; `Some` says who has it.
async fn lock(client: &Client) -> Result<Option<String>, DbError> {
    let taken = client.query_typed(&format!("SELECT pg_try_advisory_lock({RUN_LOCK})"), &[]).await?;
    if taken.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT a.application_name || ', server process ' || a.pid || ', since ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (l.classid::bigint << 32 | l.objid::bigint) = {RUN_LOCK}"
    );
    let rows = client.query_typed(&sql, &[]).await?;
    let told = rows.first().and_then(|row| row.get::<_, Option<String>>(0));
    Ok(Some(told.unwrap_or_else(|| "it ended at this moment; try again".into())))
}

async fn end_others(client: &Client) -> Result<(), DbError> {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
         AND usename = current_user AND application_name LIKE '{NAME},%' AND pid <> pg_backend_pid()"
    );
    client.query_typed(&sql, &[]).await?;
    Ok(())
}
