//! The way to what all tenants' metering shares, as the role that writes it. It reaches the schema `analytics` and nothing of a
//! tenant's own schema; a tenant reads its own rows of `analytics` through its [`TenantTx`](crate::TenantTx).

use std::pin::Pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, RowStream};

use crate::clients::{Clients, Lent};
use crate::config::DatabaseConfig;
use crate::connect::Logins;
use crate::error::DbError;
use crate::statement::Statement;

/// A few connections of the role `tenantry_meter`, for the metering alone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MeterDb {
    clients: Clients,
}

impl MeterDb {
    /// Connects when it is needed.
    #[must_use]
    pub fn new(database: &DatabaseConfig, connections: usize) -> Self {
        Self { clients: Clients::new(database.clone(), Logins::METER, connections) }
    }

    /// The same with another number of connections, which it shares with nobody.
    #[must_use]
    pub fn with_connections(&self, connections: usize) -> Self {
        Self { clients: self.clients.with_connections(connections) }
    }

    /// Opens a transaction (READ COMMITTED: each statement sees what was committed before it). Dropped, it is rolled back.
    ///
    /// # Errors
    /// [`DbError`] when there is no connection.
    pub async fn begin(&self) -> Result<MeterTx, DbError> {
        self.open("BEGIN").await
    }

    /// Opens a transaction in which all statements see the same moment.
    ///
    /// # Errors
    /// [`DbError`] when there is no connection.
    pub async fn snapshot(&self) -> Result<MeterTx, DbError> {
        self.open("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn open(&self, begin: &str) -> Result<MeterTx, DbError> {
        let client = self.clients.get().await?;
        client.batch_execute(begin).await?;
        Ok(MeterTx { client })
    }
}

/// A transaction of the metering.
#[derive(Debug)]
pub struct MeterTx {
    client: Lent,
}

impl MeterTx {
    /// Runs a statement and gives its rows.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn query(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        Ok(self.client.query_typed(statement.sql(), &typed(statement, params)?).await?)
    }

    /// Runs a statement that gives one row at most.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn query_opt(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DbError> {
        Ok(self.query(statement, params).await?.into_iter().next())
    }

    /// Runs a statement that gives one row.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn query_one(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DbError> {
        self.query_opt(statement, params).await?.ok_or(DbError::Misuse("a statement for one row gave none"))
    }

    /// Runs a statement and gives the number of rows it changed.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn execute(&self, statement: &'static Statement, params: &[&(dyn ToSql + Sync)]) -> Result<u64, DbError> {
        Ok(self.client.execute_typed(statement.sql(), &typed(statement, params)?).await?)
    }

    /// As [`query`](Self::query), for what is run over and over: it is prepared once on each connection, so that the database does not plan it each time.
    ///
    /// # Errors
    /// [`DbError`].
    #[expect(clippy::disallowed_methods, reason = "a statement that is prepared already is sent at once")]
    pub async fn query_again(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        let prepared = self.client.prepared(statement).await?;
        Ok(self.client.query(&prepared, params).await?)
    }

    /// As [`execute`](Self::execute), prepared as in [`query_again`](Self::query_again).
    ///
    /// # Errors
    /// [`DbError`].
    #[expect(clippy::disallowed_methods, reason = "a statement that is prepared already is sent at once")]
    pub async fn execute_again(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DbError> {
        let prepared = self.client.prepared(statement).await?;
        Ok(self.client.execute(&prepared, params).await?)
    }

    /// Runs a statement and gives its rows as they come.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn stream(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<RowStream, DbError> {
        let params = typed(statement, params)?;
        Ok(self.client.query_typed_raw(statement.sql(), params).await?)
    }

    /// Runs a text of several statements without parameters.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn batch(&self, sql: &'static str) -> Result<(), DbError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Begins a `COPY … FROM STDIN (FORMAT binary)`; the statement's types are those of the columns.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn copy_in(&self, statement: &'static Statement) -> Result<MeterCopy, DbError> {
        let sink = self.client.copy_in(statement.sql()).await?;
        Ok(MeterCopy { writer: Box::pin(BinaryCopyInWriter::new(sink, statement.params())) })
    }

    /// Makes it last.
    ///
    /// # Errors
    /// [`DbError`]; whether it lasts is unknown then.
    pub async fn commit(self) -> Result<(), DbError> {
        self.end("COMMIT").await
    }

    /// Undoes it, and gives the connection back.
    ///
    /// # Errors
    /// [`DbError`]; it is undone all the same.
    pub async fn rollback(self) -> Result<(), DbError> {
        self.end("ROLLBACK").await
    }

    async fn end(self, how: &str) -> Result<(), DbError> {
        self.client.batch_execute(how).await?;
        self.client.give_back();
        Ok(())
    }
}

fn typed<'a>(
    statement: &'static Statement,
    params: &[&'a (dyn ToSql + Sync)],
) -> Result<Vec<(&'a (dyn ToSql + Sync), Type)>, DbError> {
    if params.len() != statement.params().len() {
        return Err(DbError::Misuse("a statement was given another number of parameters than it declares"));
    }
    Ok(params.iter().copied().zip(statement.params().iter().cloned()).collect())
}

/// Rows on their way into a table.
pub struct MeterCopy {
    writer: Pin<Box<BinaryCopyInWriter>>,
}

impl MeterCopy {
    /// Sends a row.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), DbError> {
        Ok(self.writer.as_mut().write(values).await?)
    }

    /// Ends it, and gives the number of rows.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn finish(mut self) -> Result<u64, DbError> {
        Ok(self.writer.as_mut().finish().await?)
    }
}

impl std::fmt::Debug for MeterCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeterCopy").finish_non_exhaustive()
    }
}
