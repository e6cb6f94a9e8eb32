//! The one way to a tenant's data on PostgreSQL, and what decides who may take it.
//!
//! * [`Registry`] knows the tenants, their keys and their places; it alone turns a proven identity
//!   into a [`TenantContext`].
//! * [`TenantDb`] opens a [`TenantTx`] for a context, on a connection of the tenant's cell, scoped by
//!   role and schema, in one round trip for a single statement.
//! * [`Provisioner`] creates, suspends, deletes and purges tenants with their roles and schemas.
//!
//! Nothing here knows what a tenant's tables hold: that comes as a [`TenantSchema`] from the domain.
//!
//! A context cannot be made up:
//!
//! ```compile_fail
//! let forged = tenantry_postgres::TenantContext { inner: todo!() };
//! ```
//!
//! and without one there is no transaction:
//!
//! ```compile_fail
//! async fn leak(db: tenantry_postgres::TenantDb) {
//!     let _ = db.begin("acme").await;
//! }
//! ```

mod access;
mod clients;
mod config;
mod connect;
mod error;
mod init;
mod provision;
mod registry;
mod statement;

pub use access::{AccessStats, TenantDb, TenantTx};
#[cfg(feature = "negative-controls")]
pub use config::Defences;
pub use config::{AccessConfig, AccessMode, ClusterSecret, DatabaseConfig, RegistryConfig};
pub use connect::Logins;
pub use error::{AccessError, DbError, Exhausted, ProvisionError};
pub use init::{InitReport, create_database, initialise};
pub use provision::{
    ApiKeyInfo, CreatedKey, CreatedTenant, DeleteOutcome, NewTenant, Provisioner, TenantFilter, TenantPatch, TenantRow,
    TenantSchema,
};
pub use registry::{
    Actor, Identified, Limits, NotReady, Operator, Principal, Refusal, Registry, Tenant, TenantContext, VerifiedToken,
    Via,
};
pub use statement::Statement;
pub use tokio_postgres::Row;
pub use tokio_postgres::types::{ToSql, Type};

/// The cell a tenant lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(pub i32);
