//! One tenant of a run: its steps, and what is done when one does not succeed.

use std::time::{Duration, Instant};

use tenantry_core::quote_identifier;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::error::MigrateError;
use super::event::{Event, Failure};
use super::keeper::session;
use super::options::millis;
use super::plan::Pending;
use super::run::Run;
use super::source::Migration;
use super::step::{self, Direction, Tries, Way};
use crate::error::DbError;

/// Tenants that a session serves before it is replaced: a backend remembers every table it has met.
const TENANTS_PER_SESSION: usize = 300;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How a tenant came out.
#[derive(Debug)]
pub(super) enum Done {
    Migrated {
        attempts: u32,
    },
    Skipped(&'static str),
    /// It is in another place than when the run began.
    Moved,
    Failed(Failure),
    /// The run ended while the tenant waited for another try.
    Left,
}

/// A session for steps and the tenants it has served.
pub(super) struct Session {
    client: Client,
    served: usize,
}

/// Why a step was not made.
enum Trouble {
    Database(DbError),
    /// No answer came, although the server's own limits have passed.
    Silent(Duration),
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl Trouble {
    fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.sqlstate(),
            Self::Silent(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Database(error) => error.to_string(),
            Self::Silent(waited) => format!("no answer within {waited:?}"),
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self, Self::Database(DbError::Unavailable(_)) | Self::Silent(_))
    }

    /// Another transaction was in the way, or somebody cancelled: another try may succeed. A statement that used up its time
    /// would use it up again.
    fn is_passing(&self, took: Duration, limit: Duration) -> bool {
        match self.sqlstate() {
            Some("55P03" | "40P01" | "40001" | "53200" | "53300") => true,
            Some("57014") => took < limit,
            _ => false,
        }
    }
}

impl Run<'_> {
    /// Brings a tenant to the target.
    pub(super) async fn tenant(&self, slot: &mut Option<Session>, tenant: &Pending) -> Result<Done, MigrateError> {
        let mut version = tenant.version;
        let (mut attempts, mut lost_since, mut singly) = (1, None, false);
        // Tries of the steps at hand that another transaction was in the way of.
        let mut refused = 0;
        loop {
            let steps = self.steps(version);
            let Some(first) = steps.first() else { return Ok(Done::Migrated { attempts }) };
            let together = if singly { 1 } else { self.together(&steps) };
            let begun = Instant::now();
            let trouble = match self.group(slot, tenant, version, &steps[..together], attempts).await {
                Ok(reached) => {
                    (version, lost_since, refused) = (reached, None, 0);
                    continue;
                }
                Err(trouble) => trouble,
            };
            let took = begun.elapsed();
            match trouble.sqlstate() {
                Some("TY002") => return Ok(Done::Skipped("it was purged meanwhile")),
                Some("TY003") => return Ok(Done::Moved),
                // Somebody else was quicker, or an answer of our own was lost on its way.
                Some("TY001") => match self.version_of(tenant).await? {
                    Some(now) => {
                        version = now;
                        continue;
                    }
                    None => return Ok(Done::Skipped("it was purged meanwhile")),
                },
                _ => {}
            }
            refused += u32::from(!trouble.is_lost());
            if trouble.is_lost() {
                *slot = None;
                let since = *lost_since.get_or_insert_with(Instant::now);
                // Also tells whether the run still holds its lock.
                drop(self.keeper.client().await?);
                if since.elapsed() > self.options.patience {
                    return Err(MigrateError::Database(DbError::Unavailable(trouble.text())));
                }
            } else if !trouble.is_passing(took, self.options.statement_timeout) || refused >= self.options.tries {
                if together > 1 {
                    // One by one, so that the steps that can be made are, and the one that cannot is known.
                    singly = true;
                    continue;
                }
                if self.version_of(tenant).await?.is_none() {
                    return Ok(Done::Skipped("it was purged meanwhile"));
                }
                let failure = Failure {
                    slug: tenant.slug.clone(),
                    migration: first.label(),
                    at: version,
                    attempts,
                    sqlstate: trouble.sqlstate().map(str::to_owned),
                    error: trouble.text(),
                };
                match self.write_failure(tenant, first, &failure, took).await {
                    // Its disk is full, perhaps. The report still tells of the tenant, and no other is begun.
                    Err(MigrateError::Database(error)) if error.sqlstate().is_some() => {
                        self.halt(format!("the ledger cannot be written: {error}"));
                    }
                    written => written?,
                }
                return Ok(Done::Failed(failure));
            }
            let wait = pause(attempts);
            self.events.send(Event::Retry {
                slug: tenant.slug.clone(),
                attempt: attempts,
                sqlstate: trouble.sqlstate().map(str::to_owned),
                error: trouble.text(),
                wait_ms: millis(wait),
            });
            if !self.wait(wait).await {
                return Ok(Done::Left);
            }
            attempts += 1;
        }
    }

    const fn way(&self) -> Way {
        Way { run: self.id, direction: self.direction, limits: self.limits() }
    }

    /// How many of the steps go into one transaction.
    fn together(&self, steps: &[&Migration]) -> usize {
        steps.iter().take_while(|step| self.direction.transactional(step)).count().max(1)
    }

    /// Makes some steps; gives the version reached.
    async fn group(
        &self,
        slot: &mut Option<Session>,
        tenant: &Pending,
        version: i32,
        steps: &[&Migration],
        attempts: u32,
    ) -> Result<i32, Trouble> {
        if slot.as_ref().is_some_and(|session| session.served >= TENANTS_PER_SESSION || session.client.is_closed()) {
            *slot = None;
        }
        let session = match slot {
            Some(session) => session,
            None => slot.insert(self.session().await?),
        };
        session.served += 1;
        let Some(last) = steps.last() else { return Ok(version) };
        if self.direction.transactional(last) {
            let record = self.direction == Direction::Up && !self.is_recorded(last.version);
            let text = step::message(&self.way(), tenant, version, steps, Tries { attempt: attempts, record });
            self.send(&session.client, &text).await?;
            if record {
                self.record(last.version);
            }
        } else {
            let outcome = self.outside(&session.client, tenant, version, last, attempts).await;
            if outcome.is_err() {
                // Whatever state it is in.
                *slot = None;
            }
            outcome?;
        }
        Ok(self.direction.result(last))
    }

    /// Makes a step that cannot be in a transaction, so that it can be repeated wherever it ends.
    async fn outside(
        &self,
        client: &Client,
        tenant: &Pending,
        version: i32,
        step: &Migration,
        attempts: u32,
    ) -> Result<(), Trouble> {
        let opened = self.send(client, &step::open(&self.way(), tenant, version, step, attempts)).await?;
        let unknown_end = opened.iter().rev().find_map(first_column).is_some_and(|count| count != "0");
        let outcome = self.bare(client, tenant, step, unknown_end).await;
        if let Err(trouble) = outcome {
            if !trouble.is_lost() {
                let text = tenantry_core::quote_literal(&trouble.text());
                let state = trouble.sqlstate().map_or_else(|| "NULL".to_owned(), tenantry_core::quote_literal);
                let sql = format!(
                    "UPDATE public.migration_ledger SET state = 'failed', finished_at = clock_timestamp(), error = {text}, sqlstate = {state}, \
                     duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000 WHERE state = 'running' AND tenant_id = '{}'",
                    tenant.id
                );
                // Where the ledger refuses, the step's own trouble is told; the next run closes the row.
                if let Err(silence) = self.send(client, &sql).await
                    && silence.is_lost()
                {
                    return Err(silence);
                }
            }
            return Err(trouble);
        }
        self.send(client, &step::close(tenant, version, step, self.direction)).await?;
        Ok(())
    }

    async fn bare(
        &self,
        client: &Client,
        tenant: &Pending,
        step: &Migration,
        unknown_end: bool,
    ) -> Result<(), Trouble> {
        let statement = step::bare(tenant, step, self.direction);
        let invalid = self.send(client, &step::invalid_indexes(tenant)).await?;
        for index in invalid.iter().filter_map(first_column).filter(|index| step::belongs_to(index, &statement)) {
            let name = format!("{}.{}", tenant.schema.quoted(), quote_identifier(index));
            self.send(client, &format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
        }
        match self.send(client, &statement).await {
            // An earlier try, whose end nobody saw, has made it: it exists already, or is gone already.
            Err(trouble) if unknown_end && matches!(trouble.sqlstate(), Some("42P07" | "42704" | "42710")) => Ok(()),
            Err(trouble) => Err(trouble),
            Ok(_) => Ok(()),
        }
    }

    /// Sends a message. Should no answer come although the server's own limits have passed, the server is gone or the way to it is: the
    /// session is given up, and the guard of the next try finds out what became of the message.
    async fn send(&self, client: &Client, text: &str) -> Result<Vec<SimpleQueryMessage>, Trouble> {
        let limit = self.limits().answer(text);
        match tokio::time::timeout(limit, client.simple_query(text)).await {
            Ok(Ok(messages)) => Ok(messages),
            Ok(Err(error)) => Err(Trouble::Database(error.into())),
            Err(_) => Err(Trouble::Silent(limit)),
        }
    }

    async fn session(&self) -> Result<Session, DbError> {
        let client = session(self.database).await?;
        client.batch_execute(&self.limits().session()).await?;
        Ok(Session { client, served: 0 })
    }

    async fn version_of(&self, tenant: &Pending) -> Result<Option<i32>, MigrateError> {
        let sql = format!("SELECT schema_version FROM public.tenant_placements WHERE tenant_id = '{}'", tenant.id);
        let rows = self.keeper.client().await?.query_typed(&sql, &[]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn write_failure(
        &self,
        tenant: &Pending,
        step: &Migration,
        failure: &Failure,
        took: Duration,
    ) -> Result<(), MigrateError> {
        // One outside a transaction has its row already.
        if !self.direction.transactional(step) {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO public.migration_ledger (run_id, tenant_id, version, direction, state, started_at, finished_at, duration_ms, attempts, sqlstate, error, checksum) \
             VALUES ({run}, '{id}', {version}, '{direction}', 'failed', clock_timestamp() - interval '{ms} ms', clock_timestamp(), {ms}, {attempts}, {state}, {error}, {checksum})",
            run = self.id,
            id = tenant.id,
            version = step.version,
            direction = self.direction.as_str(),
            ms = took.as_millis(),
            attempts = failure.attempts,
            state = failure.sqlstate.as_deref().map_or_else(|| "NULL".to_owned(), tenantry_core::quote_literal),
            error = tenantry_core::quote_literal(&failure.error),
            checksum = super::shared::hex(&step.checksum),
        );
        Ok(self.keeper.client().await?.batch_execute(&sql).await?)
    }
}

fn first_column(message: &SimpleQueryMessage) -> Option<&str> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    }
}

/// Doubles with every try, up to a limit; a random part keeps tries of several tenants apart.
fn pause(attempt: u32) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << attempt.min(8)).min(LONGEST_PAUSE);
    let random = u32::try_from(uuid::Uuid::new_v4().as_u128() & 0xff).unwrap_or(0);
    whole / 2 + whole * random / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        assert!(pause(1) >= FIRST_PAUSE && pause(1) <= FIRST_PAUSE * 2);
        assert!(pause(30) >= LONGEST_PAUSE / 2 && pause(30) <= LONGEST_PAUSE);
    }
}
