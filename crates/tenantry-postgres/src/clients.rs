use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement as Prepared};

use crate::config::DatabaseConfig;
use crate::connect::connect;
use crate::error::{DbError, Exhausted};
use crate::statement::Statement;

const WAIT: Duration = Duration::from_secs(10);
/// How long a read that a request waits for may take.
const ANSWER: Duration = Duration::from_secs(3);

/// A few connections of one of our own roles (not a tenant's), lent one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: DatabaseConfig,
    role: &'static str,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

/// A connection, and what is prepared on it.
#[derive(Debug)]
struct Idle {
    client: Client,
    prepared: Mutex<HashMap<usize, Prepared>>,
}

impl Clients {
    pub(crate) fn new(config: DatabaseConfig, role: &'static str, connections: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections.max(1)));
        Self { inner: Arc::new(Inner { config, role, permits, idle: Mutex::default() }) }
    }

    /// The same with another number of connections; it shares none.
    pub(crate) fn with_connections(&self, connections: usize) -> Self {
        Self::new(self.inner.config.clone(), self.inner.role, connections)
    }

    pub(crate) async fn get(&self) -> Result<Lent, DbError> {
        let acquired = tokio::time::timeout(WAIT, Arc::clone(&self.inner.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = acquired else {
            return Err(DbError::Exhausted { limit: Exhausted::Process, waited: WAIT });
        };
        let idle = loop {
            let next = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(idle) if idle.client.is_closed() => {}
                other => break other,
            }
        };
        let lent = match idle {
            Some(idle) => idle,
            None => Idle { client: connect(&self.inner.config, self.inner.role).await?, prepared: Mutex::default() },
        };
        Ok(Lent { lent: Some(lent), pool: Arc::clone(&self.inner), _permit: permit })
    }

    /// A read that a request waits for: longer than this it is not kept waiting, it is refused. A server that is silently gone answers nothing at all, and then the idle
    /// connections lead nowhere either.
    pub(crate) async fn in_time<T>(&self, read: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
        if let Ok(answer) = tokio::time::timeout(ANSWER, read).await {
            return answer;
        }
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Err(DbError::Unavailable(format!("no answer within {ANSWER:?}")))
    }
}

/// A lent connection. It goes back only through [`Lent::give_back`]; dropped in the middle of
/// something (an error, a cancelled future) it is closed, and the server rolls back.
#[derive(Debug)]
pub(crate) struct Lent {
    lent: Option<Idle>,
    pool: Arc<Inner>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    pub(crate) fn give_back(mut self) {
        if let Some(lent) = self.lent.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lent);
        }
    }

    /// A statement as it is prepared on this connection, for as long as that lives.
    pub(crate) async fn prepared(&self, statement: &'static Statement) -> Result<Prepared, tokio_postgres::Error> {
        let prepared = || self.lent().prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = prepared().get(&statement.key()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let new = self.prepare_typed(statement.sql(), statement.params()).await?;
        prepared().insert(statement.key(), new.clone());
        Ok(new)
    }

    const fn lent(&self) -> &Idle {
        self.lent.as_ref().expect("the client is there until it is given back")
    }
}

impl Deref for Lent {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.lent().client
    }
}

/// A parameter and its type, for statements that are sent whole.
pub(crate) type Typed<'a> = (&'a (dyn ToSql + Sync), Type);

/// Names a parameter's type.
pub(crate) fn typed<'a>(value: &'a (dyn ToSql + Sync), ty: Type) -> Typed<'a> {
    (value, ty)
}
