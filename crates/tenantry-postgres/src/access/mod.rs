//! Tenant-scoped access: cells of connections and the transactions on them.

mod alarm;
mod cancel;
mod cells;
mod connection;
mod notes;
mod pipeline;
mod pool;
mod release;
mod savepoint;
mod tx;

use std::sync::Arc;

pub use notes::KeptAnswer;
pub use pool::AccessStats;
pub use tx::TenantTx;

use crate::config::{AccessConfig, DatabaseConfig};
use crate::error::DbError;
use crate::events::EventHub;
use crate::registry::{Registry, TenantContext};

use pool::Pool;
use tx::Extent;

/// The way to tenants' data. Cheap to clone; one per process.
#[derive(Debug, Clone)]
pub struct TenantDb {
    pool: Arc<Pool>,
}

impl TenantDb {
    /// Opens nothing yet: connections are made when the first tenant of a cell is asked for.
    #[must_use]
    pub fn new(database: DatabaseConfig, config: AccessConfig, registry: Registry) -> Self {
        Self { pool: Arc::new(Pool::new(database, config, registry)) }
    }

    /// One statement, in one round trip, committed by itself. A second statement is refused.
    ///
    /// When its connection turns out to be dead, one that begins with `SELECT` is run again on another, so it must only
    /// read; of any other it is then not known whether it took effect.
    ///
    /// # Errors
    /// [`DbError::ContextExpired`] when the tenant is not served any more, [`DbError::Exhausted`] when no
    /// connection became free in time, [`DbError::Unavailable`] when the database is away.
    pub async fn single(&self, context: &TenantContext) -> Result<TenantTx, DbError> {
        TenantTx::open(&self.pool, context, Extent::Single).await
    }

    /// A transaction of many statements. `BEGIN` travels with the first; nothing stays without [`TenantTx::commit`].
    ///
    /// # Errors
    /// As [`TenantDb::single`].
    pub async fn begin(&self, context: &TenantContext) -> Result<TenantTx, DbError> {
        TenantTx::open(&self.pool, context, Extent::ReadWrite).await
    }

    /// A transaction in which the server refuses every write.
    ///
    /// # Errors
    /// As [`TenantDb::single`].
    pub async fn read_only(&self, context: &TenantContext) -> Result<TenantTx, DbError> {
        TenantTx::open(&self.pool, context, Extent::ReadOnly).await
    }

    /// A transaction in which the server refuses every write and all statements see the same moment, so that several figures
    /// agree with each other.
    ///
    /// # Errors
    /// As [`TenantDb::single`].
    pub async fn snapshot(&self, context: &TenantContext) -> Result<TenantTx, DbError> {
        TenantTx::open(&self.pool, context, Extent::Snapshot).await
    }

    /// Who waits for what tenants publish.
    #[must_use]
    pub fn events(&self) -> &EventHub {
        self.pool.registry.events()
    }

    /// The registry that decides who is let in.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.pool.registry
    }

    /// What the pool holds now.
    #[must_use]
    pub fn stats(&self) -> AccessStats {
        self.pool.stats()
    }

    /// Closes all idle connections; those in use close when they come back.
    pub fn close(&self) {
        self.pool.close();
    }
}
