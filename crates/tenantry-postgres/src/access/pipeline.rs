//! What travels in one round trip: the scope and the beginning ahead of a statement, the statement, the end behind it.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::error::DbError;

/// What a statement gives.
pub(super) enum Answer {
    Rows(Vec<Row>),
    Count(u64),
}

/// What is wanted of a statement.
#[derive(Clone, Copy)]
pub(super) enum Want {
    Rows,
    Count,
}

/// What goes ahead of a statement.
#[derive(Default)]
pub(super) struct Prelude {
    pub(super) scope: Option<String>,
    pub(super) begin: Option<&'static str>,
}

/// What went wrong, and where.
pub(super) struct Failure {
    pub(super) error: DbError,
    pub(super) stage: Stage,
}

/// The parts of a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Scope,
    Begin,
    Statement,
}

impl Stage {
    fn failed(self, error: impl Into<DbError>) -> Failure {
        Failure { error: error.into(), stage: self }
    }
}

impl<E: Into<DbError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Stage::Statement.failed(error)
    }
}

/// Sends the prelude, the statement and the postlude at once and awaits all of them: one round trip. The first
/// error counts, because a later message may well answer OK to a transaction that is lost.
pub(super) async fn pipeline<T>(
    client: &Client,
    prelude: &Prelude,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    postlude: Option<&'static str>,
) -> Result<T, Failure> {
    if prelude.scope.is_none() && prelude.begin.is_none() && postlude.is_none() {
        return Ok(statement.await?);
    }
    let (scope, begin, answer, last) = tokio::join!(
        biased;
        batch(client, prelude.scope.as_deref()),
        batch(client, prelude.begin),
        statement,
        batch(client, postlude),
    );
    scope.map_err(|error| Stage::Scope.failed(error))?;
    begin.map_err(|error| Stage::Begin.failed(error))?;
    let answer = answer?;
    last?;
    Ok(answer)
}

async fn batch(client: &Client, sql: Option<&str>) -> Result<(), tokio_postgres::Error> {
    match sql {
        Some(sql) => client.batch_execute(sql).await,
        None => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a statement that is prepared already is sent at once")]
pub(super) async fn send_prepared(
    client: &Client,
    prepared: &tokio_postgres::Statement,
    params: &[&(dyn ToSql + Sync)],
    want: Want,
) -> Result<Answer, tokio_postgres::Error> {
    match want {
        Want::Rows => client.query(prepared, params).await.map(Answer::Rows),
        Want::Count => client.execute(prepared, params).await.map(Answer::Count),
    }
}

pub(super) async fn send_typed(
    client: &Client,
    sql: &str,
    params: &[(&(dyn ToSql + Sync), Type)],
    want: Want,
) -> Result<Answer, tokio_postgres::Error> {
    match want {
        Want::Rows => client.query_typed(sql, params).await.map(Answer::Rows),
        Want::Count => client.execute_typed(sql, params).await.map(Answer::Count),
    }
}
