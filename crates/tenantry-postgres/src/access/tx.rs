use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::config::AccessMode;
use crate::error::DbError;
use crate::registry::{Tenant, TenantContext};
use crate::statement::{Statement, qualify};

use super::connection::{Connection, Way, begin_scoped, bind_session};
use super::notes::{KeptAnswer, Noted, Notes};
use super::pipeline::{Answer, Failure, Prelude, Stage, Want, pipeline, send_prepared, send_typed};
use super::pool::{Permits, Pool};
use super::savepoint::Mark;

/// How far a transaction reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Single,
    ReadWrite,
    ReadOnly,
    /// Read only, and all statements see the same moment.
    Snapshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing sent.
    Fresh,
    /// A transaction block is open on the server.
    Open,
    /// A statement failed; only a rollback is left, of all or to the savepoint.
    Failed,
    /// Nothing more can be sent.
    Done,
    /// The connection is gone; what became of the transaction is not known.
    Lost,
}

/// A transaction that sees one tenant's data.
///
/// Only a [`TenantContext`] opens it. Dropped without [`commit`](Self::commit) it is rolled back; dropped
/// while a statement runs (a cancelled request) the statement is cancelled and the connection closed.
#[derive(Debug)]
pub struct TenantTx {
    pub(super) pool: Arc<Pool>,
    context: TenantContext,
    tenant: Arc<Tenant>,
    pub(super) connection: Option<Box<Connection>>,
    pub(super) permits: Option<Permits>,
    pub(super) extent: Extent,
    pub(super) phase: Phase,
    /// The connection served before, so the server may have closed it since.
    recycled: bool,
    pub(super) in_flight: bool,
    pub(super) notes: Notes,
    pub(super) mark: Option<Mark>,
}

/// The future of a statement was dropped before its end. What it did is not known, so nothing may build on it.
pub(super) const ABANDONED: DbError =
    DbError::Misuse("a statement was abandoned while it ran; only a rollback is left");

impl TenantTx {
    pub(super) async fn open(pool: &Arc<Pool>, context: &TenantContext, extent: Extent) -> Result<Self, DbError> {
        #[cfg(feature = "negative-controls")]
        let check = pool.config.defences.context_check;
        #[cfg(not(feature = "negative-controls"))]
        let check = true;
        let mut tenant =
            if check { pool.registry.still_served(context).await? } else { Arc::clone(context.tenant_arc()) };
        loop {
            let (connection, permits) = pool.checkout(&tenant).await?;
            let tx = Self {
                pool: Arc::clone(pool),
                context: context.clone(),
                tenant: Arc::clone(&tenant),
                recycled: connection.recycled,
                connection: Some(connection),
                permits: Some(permits),
                extent,
                phase: Phase::Fresh,
                in_flight: false,
                notes: Notes::default(),
                mark: None,
            };
            if !check {
                return Ok(tx);
            }
            // The wait for a connection may have been long, and the tenant suspended or moved meanwhile.
            let now = pool.registry.still_served(context).await?;
            if now.generation == tenant.generation && now.cell == tenant.cell {
                return Ok(tx);
            }
            drop(tx);
            tenant = now;
        }
    }

    /// The context this was opened with.
    #[must_use]
    pub fn context(&self) -> &TenantContext {
        &self.context
    }

    /// The tenant as the registry had it when this was opened: newer than the context's, which is the request's.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The time by this server's clock, which may be another than the database's: good for a guess that the database confirms.
    #[must_use]
    pub fn presumed_now(&self) -> DateTime<Utc> {
        self.pool.registry.now()
    }

    /// Runs a statement for its rows.
    ///
    /// # Errors
    /// [`DbError`]; after one, only [`rollback`](Self::rollback) is left.
    pub async fn query(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        match self.run(statement, params, Want::Rows).await? {
            Answer::Rows(rows) => Ok(rows),
            Answer::Count(_) => Ok(Vec::new()),
        }
    }

    /// Runs a statement that gives one row or none.
    ///
    /// # Errors
    /// As [`query`](Self::query), and [`DbError::Misuse`] for more than one row.
    pub async fn query_opt(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DbError> {
        let mut rows = self.query(statement, params).await?;
        if rows.len() > 1 {
            return Err(DbError::Misuse("a statement for one row gave several"));
        }
        Ok(rows.pop())
    }

    /// Runs a statement that gives exactly one row.
    ///
    /// # Errors
    /// As [`query_opt`](Self::query_opt), and [`DbError::Misuse`] for none.
    pub async fn query_one(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DbError> {
        self.query_opt(statement, params).await?.ok_or(DbError::Misuse("a statement for one row gave none"))
    }

    /// Runs a statement for the number of rows it changed.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn execute(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DbError> {
        match self.run(statement, params, Want::Count).await? {
            Answer::Count(count) => Ok(count),
            Answer::Rows(rows) => Ok(rows.len() as u64),
        }
    }

    /// Notes an audit event of this transaction: who (from the context), what, on what. It is written with the commit, so it
    /// lasts if and only if the changes do.
    pub fn audit(&mut self, action: &str, target: &str, details: Value) {
        self.notes.audit.push(Noted { action: action.to_owned(), target: target.to_owned(), details });
    }

    /// Publishes an event of this transaction in the table `events` of the tenant's schema, which the domain has to have. Written
    /// with the commit, as audit events are.
    pub fn publish(&mut self, kind: &'static str, data: Value) {
        self.notes.published.push((kind, data));
    }

    /// Has the answer to the request kept under its key, in the table `idempotency_keys` of the tenant's schema, which the domain has
    /// to have. Written with the commit, which fails and undoes everything when somebody has the key:
    /// [`DbError::is_key_taken`].
    pub fn keep_answer(&mut self, answer: KeptAnswer) {
        self.notes.answer = Some(answer);
    }

    /// Runs SQL that was not vetted, for its rows. The session counts as tainted from here: the scope is set
    /// again before each further statement, and everything the session holds is discarded before another tenant gets it.
    ///
    /// The role limits what the text can reach, but the text may leave that role: PostgreSQL lets a session go back to
    /// its login. Never pass a user's text; a tenant that runs its own SQL needs a dedicated cell.
    ///
    /// # Errors
    /// As [`query`](Self::query); [`DbError::Misuse`] through a pooler, whose sessions are not ours to clean.
    pub async fn raw(&mut self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, DbError> {
        if self.pool.config.mode == AccessMode::Pooler {
            return Err(DbError::Misuse("unvetted SQL needs a connection of our own"));
        }
        self.ready()?;
        if self.recycled && self.phase == Phase::Fresh && self.connection_mut().wire.is_closed() {
            self.replace().await?;
        }
        let text = qualify(sql, &self.tenant.schema);
        self.connection_mut().tainted = true;
        let prelude = self.prelude();
        self.in_flight = true;
        let (client, link) = self.connection_mut().wire.split();
        let send = client.query_typed(&text, params);
        let result = link.drive(pipeline(client, &prelude, send, None)).await;
        self.in_flight = false;
        self.settle(result)
    }

    async fn run(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
        want: Want,
    ) -> Result<Answer, DbError> {
        self.ready()?;
        if params.len() != statement.params().len() {
            return Err(DbError::Misuse("a statement got another number of parameters than it declares"));
        }
        let first = self.recycled && self.phase == Phase::Fresh;
        if first && self.connection_mut().wire.is_closed() {
            self.replace().await?;
        }
        let pooler = self.pool.config.mode == AccessMode::Pooler;
        let then = (self.extent == Extent::Single && pooler).then_some("COMMIT");
        let result = self.attempt(statement, params, want, then).await;
        let result = match result {
            Err(failure)
                if failure.error.breaks_connection() && first && self.recycled && self.is_repeatable(statement) =>
            {
                self.replace().await?;
                self.attempt(statement, params, want, then).await
            }
            // It did nothing, being refused before it began, or as a whole: in a transaction of its own it can be sent anew.
            Err(failure) if self.extent == Extent::Single && is_outdated(&failure.error) => {
                self.connection_mut().forget_statements();
                self.attempt(statement, params, want, then).await
            }
            result => result,
        };
        self.settle(result)
    }

    /// Whether running the first statement again on another connection cannot do anything twice, although it is not known how
    /// far it came on the one that was lost: in a transaction nothing lasts before COMMIT, which was not sent. A statement
    /// committed by itself may have lasted, unless it reads only.
    fn is_repeatable(&self, statement: &Statement) -> bool {
        self.extent != Extent::Single || statement.sql().trim_start().starts_with("SELECT")
    }

    /// Takes a new connection for one that turned out to be dead before this transaction got anything from it, as all
    /// idle ones are after a restart of the database.
    async fn replace(&mut self) -> Result<(), DbError> {
        self.phase = Phase::Lost;
        let Some(dead) = self.connection.take() else { return Err(DbError::Misuse("no connection to replace")) };
        let place = self.pool.bury(dead);
        self.connection = Some(self.pool.open(&self.tenant, place).await?);
        self.recycled = false;
        self.phase = Phase::Fresh;
        Ok(())
    }

    async fn attempt(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
        want: Want,
        then: Option<&'static str>,
    ) -> Result<Answer, Failure> {
        let way = match self.connection.as_deref_mut() {
            Some(connection) => connection.way(statement, &self.tenant, &self.pool.config),
            None => return Err(DbError::Misuse("a transaction has its connection until it is done").into()),
        };
        let prelude = self.prelude();
        self.in_flight = true;
        let (client, link) = self.connection_mut().wire.split();
        let result = match way {
            Way::Prepared(prepared) => {
                let send = send_prepared(client, &prepared, params, want);
                link.drive(pipeline(client, &prelude, send, then)).await
            }
            Way::Prepare(text) => {
                // The scope goes first and alone: a statement is prepared with the rights of its tenant.
                let prepare = client.prepare_typed(&text, statement.params());
                match link.drive(pipeline(client, &prelude, prepare, None)).await {
                    Ok(prepared) => {
                        let send = send_prepared(client, &prepared, params, want);
                        let result = link.drive(pipeline(client, &Prelude::default(), send, then)).await;
                        if let Some(connection) = self.connection.as_deref_mut() {
                            connection.keep(statement, &self.tenant, prepared);
                        }
                        result
                    }
                    Err(error) => Err(error),
                }
            }
            Way::Typed(text) => {
                let typed: Vec<(&(dyn ToSql + Sync), Type)> =
                    params.iter().copied().zip(statement.params().iter().cloned()).collect();
                let send = send_typed(client, &text, &typed, want);
                link.drive(pipeline(client, &prelude, send, then)).await
            }
        };
        self.in_flight = false;
        result
    }

    /// What must go ahead of the next statement.
    fn prelude(&self) -> Prelude {
        let (config, tenant) = (&self.pool.config, &self.tenant);
        let fresh = self.phase == Phase::Fresh;
        if config.mode == AccessMode::Pooler {
            let modes = match self.extent {
                Extent::Single | Extent::ReadWrite => "READ COMMITTED READ WRITE",
                Extent::ReadOnly => "READ COMMITTED READ ONLY",
                Extent::Snapshot => "REPEATABLE READ READ ONLY",
            };
            let scope = fresh.then(|| begin_scoped(tenant, config, modes));
            return Prelude { scope, begin: self.mark.and_then(|mark| mark.message(false)) };
        }
        let connection = self.connection.as_ref();
        let (bound, tainted) = connection.map_or((None, false), |c| (c.bound, c.tainted));
        let outdated = connection.is_some_and(|c| c.limits != tenant.time_limits());
        let scope = if bound != Some(tenant.id) || (fresh && (outdated || tainted)) {
            Some(bind_session(tenant, config))
        } else if tainted && !tenant.dedicated {
            Some(format!("SET ROLE {}", tenant.role().quoted()))
        } else {
            None
        };
        let begin = match self.extent {
            Extent::ReadWrite if fresh => Some("BEGIN"),
            Extent::ReadOnly if fresh => Some("BEGIN READ ONLY"),
            Extent::Snapshot if fresh => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            _ => None,
        };
        let begin = self.mark.and_then(|mark| mark.message(fresh)).or(begin);
        match (scope, begin) {
            // One message and not two, as each costs an answer. The role is then taken within the transaction, and lost with it.
            (Some(scope), Some(begin)) if fresh && self.writes() => {
                Prelude { scope: Some(format!("{scope};{begin}")), begin: None }
            }
            (scope, begin) => Prelude { scope, begin },
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.extent == Extent::ReadWrite
    }

    pub(super) fn ready(&self) -> Result<(), DbError> {
        if self.in_flight {
            return Err(ABANDONED);
        }
        match self.phase {
            Phase::Fresh | Phase::Open => Ok(()),
            Phase::Failed => Err(DbError::Misuse("a statement failed before; roll back")),
            Phase::Done => Err(DbError::Misuse("one statement only: use a transaction for more")),
            Phase::Lost => Err(DbError::Unavailable("the connection was lost".into())),
        }
    }

    /// The session is the tenant's now.
    pub(super) fn scoped(&mut self) {
        let (id, limits) = (self.tenant.id, self.tenant.time_limits());
        let connection = self.connection_mut();
        if connection.bound != Some(id) {
            connection.bound = Some(id);
            connection.touched.insert(id);
        }
        connection.limits = limits;
    }

    fn settle<T>(&mut self, result: Result<T, Failure>) -> Result<T, DbError> {
        let prepared = result.as_ref().err().is_none_or(|failure| failure.stage == Stage::Statement);
        if prepared && let Some(mark) = &mut self.mark {
            mark.reached();
        }
        match &result {
            Ok(_) => {
                self.scoped();
                self.phase = if self.extent == Extent::Single { Phase::Done } else { Phase::Open };
            }
            Err(Failure { error, stage }) => {
                // A role that the statement has left behind cannot be told from one that it has not: bind again next time.
                let connection = self.connection_mut();
                connection.bound = None;
                if is_outdated(error) {
                    connection.forget_statements();
                }
                // A scope that was taken in half is no state to go on from.
                if *stage == Stage::Scope || error.breaks_connection() {
                    if let Some(connection) = self.connection.take() {
                        self.pool.discard(connection);
                    }
                    self.phase = Phase::Lost;
                } else {
                    self.phase = Phase::Failed;
                }
            }
        }
        result.map_err(|failure| failure.error)
    }

    /// Makes the transaction's changes last.
    ///
    /// # Errors
    /// [`DbError`]. When the connection is lost here, whether the changes lasted is not known.
    pub async fn commit(mut self) -> Result<(), DbError> {
        if self.in_flight {
            return Err(ABANDONED);
        }
        let open = matches!(self.phase, Phase::Fresh | Phase::Open) && self.extent != Extent::Single;
        match self.phase {
            _ if open && !self.notes.is_empty() => self.commit_with_notes().await,
            Phase::Fresh | Phase::Done if !self.notes.is_empty() => Err(DbError::Misuse(
                "a statement that commits by itself leaves no notes: use a transaction for what is to be noted",
            )),
            Phase::Open => self.finish("COMMIT").await,
            Phase::Failed => Err(DbError::Misuse("a statement failed before; the transaction was rolled back")),
            Phase::Lost => Err(DbError::Unavailable("the connection was lost".into())),
            Phase::Fresh | Phase::Done => Ok(()),
        }
    }

    /// Notes and COMMIT travel together. Once they are sent, nothing is sent again: they may have lasted.
    async fn commit_with_notes(&mut self) -> Result<(), DbError> {
        if self.recycled && self.phase == Phase::Fresh && self.connection_mut().wire.is_closed() {
            self.replace().await?;
        }
        let notes = self.notes.take(self.context.actor());
        let result = self.attempt(notes.statement, &notes.params(), Want::Count, Some("COMMIT")).await;
        self.settle(result)?;
        self.phase = Phase::Done;
        if notes.publishes() {
            self.pool.registry.events().published(self.tenant.id, &self.tenant.slug);
        }
        Ok(())
    }

    /// Undoes the transaction's changes. Dropping does the same, later.
    ///
    /// # Errors
    /// [`DbError`] when the connection is lost; the changes are undone all the same.
    pub async fn rollback(mut self) -> Result<(), DbError> {
        match self.phase {
            // Dropping cancels the statement; the server rolls back.
            _ if self.in_flight => Ok(()),
            Phase::Open | Phase::Failed if self.extent != Extent::Single => {
                // The role may have been taken within the transaction.
                self.connection_mut().bound = None;
                self.finish("ROLLBACK").await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn finish(&mut self, with: &'static str) -> Result<(), DbError> {
        self.in_flight = true;
        let (client, link) = self.connection_mut().wire.split();
        let result = link.drive(client.batch_execute(with)).await.map_err(DbError::from);
        self.in_flight = false;
        self.phase = Phase::Done;
        if result.is_err() {
            // A failed COMMIT (a deferred constraint) has rolled back; after a lost connection nothing is known.
            if let Some(connection) = self.connection.take() {
                self.pool.discard(connection);
            }
        }
        result
    }

    fn connection_mut(&mut self) -> &mut Connection {
        self.connection.as_deref_mut().expect("a transaction has its connection until it is done")
    }
}

/// Whether a prepared statement has to be prepared anew: a migration changed what it gives, or something removed it.
fn is_outdated(error: &DbError) -> bool {
    matches!(error.sqlstate(), Some("0A000" | "26000"))
}
