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
//! Everything a tenant's data is reached through compiles only in this order: principal, context, transaction.
//!
//! ```
//! use tenantry_postgres::{AccessError, DbError, Principal, Registry, TenantDb};
//! async fn reach(registry: Registry, db: TenantDb, principal: Principal) -> Result<(), Box<dyn std::error::Error>> {
//!     let context = registry.context(&principal, &[]).await?;
//!     let tx = db.begin(&context).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//! ```
//!
//! A context cannot be made up, neither from its parts nor by its constructor:
//!
//! ```compile_fail,E0451
//! use std::sync::Arc;
//! use tenantry_postgres::{Principal, Tenant, TenantContext};
//! fn forge(tenant: Arc<Tenant>, principal: Arc<Principal>) -> TenantContext {
//!     TenantContext { tenant, principal, request: None }
//! }
//! ```
//!
//! ```compile_fail,E0624
//! use std::sync::Arc;
//! use tenantry_postgres::{Principal, Tenant, TenantContext};
//! fn forge(tenant: Arc<Tenant>, principal: Principal) -> TenantContext {
//!     TenantContext::new(tenant, principal)
//! }
//! ```
//!
//! nor turned into another tenant's:
//!
//! ```compile_fail,E0616
//! use std::sync::Arc;
//! use tenantry_postgres::{Tenant, TenantContext};
//! fn turn(mut context: TenantContext, other: Arc<Tenant>) {
//!     context.tenant = other;
//! }
//! ```
//!
//! A principal is what the registry says, not what somebody writes; what a request names is no principal:
//!
//! ```compile_fail,E0451
//! use tenantry_core::TenantId;
//! use tenantry_postgres::{Principal, Via};
//! fn forge(tenant: TenantId) -> Principal {
//!     Principal { tenant, subject: String::new(), role: tenantry_core::Role::Owner, scopes: Vec::new(), via: Via::Token }
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use tenantry_postgres::{Identified, Registry};
//! async fn believe(registry: Registry, named: Identified) {
//!     let _ = registry.context(&named, &[]).await;
//! }
//! ```
//!
//! and neither is an operator, who cannot be made up either:
//!
//! ```compile_fail,E0308
//! use tenantry_postgres::{Operator, Registry};
//! async fn overreach(registry: Registry, operator: Operator) {
//!     let _ = registry.context(&operator, &[]).await;
//! }
//! ```
//!
//! ```compile_fail,E0624
//! use tenantry_postgres::Operator;
//! let forged = Operator::new(Default::default(), String::new(), tenantry_core::OperatorRole::Admin);
//! ```
//!
//! Without a context there is no transaction:
//!
//! ```compile_fail,E0308
//! async fn leak(db: tenantry_postgres::TenantDb) {
//!     let _ = db.begin("acme").await;
//! }
//! ```
//!
//! ```compile_fail,E0616
//! use tenantry_postgres::{TenantContext, TenantTx};
//! fn redirect(mut tx: TenantTx, context: TenantContext) {
//!     tx.context = context;
//! }
//! ```
//!
//! and one that has ended, or that somebody else is using, is not used:
//!
//! ```compile_fail,E0382
//! use tenantry_postgres::{Statement, TenantTx};
//! async fn late(mut tx: TenantTx, statement: &'static Statement) {
//!     let _ = tx.commit().await;
//!     let _ = tx.execute(statement, &[]).await;
//! }
//! ```
//!
//! ```compile_fail,E0499
//! use tenantry_postgres::{Statement, TenantTx};
//! async fn at_once(mut tx: TenantTx, statement: &'static Statement) {
//!     let first = tx.execute(statement, &[]);
//!     let second = tx.execute(statement, &[]);
//!     let _ = (first.await, second.await);
//! }
//! ```

mod access;
mod audit;
mod clients;
mod config;
mod connect;
mod data_keys;
pub mod doctor;
mod error;
mod events;
mod init;
mod meter;
pub mod migrate;
mod once;
mod partitions;
mod provision;
mod registry;
mod statement;
mod wire;

pub use access::{AccessStats, KeptAnswer, TenantDb, TenantTx};
pub use audit::{Anchor, AnchorError, AuditTrail, ChainId, ChainedEvent, ExportRange, Flaw, Verdict};
#[cfg(feature = "negative-controls")]
pub use config::Defences;
pub use config::{AccessConfig, AccessMode, ClusterSecret, DatabaseConfig, RegistryConfig};
pub use connect::Logins;
pub use data_keys::{DataKeyStore, MasterKeyUse, StoredDataKey};
pub use error::{AccessError, DbError, Exhausted, ProvisionError};
pub use events::{
    EventBatch, EventFilter, EventHub, EventsConfig, PublishedEvent, Subscription, TooManyStreams, event_statements,
};
pub use init::{InitReport, create_database, initialise, is_installed, secret_fits};
pub use meter::{MeterCopy, MeterDb, MeterTx};
pub use once::OnceRequest;
pub use partitions::{Kept, Partitions, Retention};
pub use provision::{
    ApiKeyInfo, AuditEvent, AuditFilter, AuditedTable, BillingEvent, BillingEventRow, BillingFilter, BillingOutcome,
    BillingPolicy, CreatedKey, CreatedOperator, CreatedTenant, DeleteOutcome, EventKind, Measured, NewPlan, NewTenant,
    OnCancelled, OnPastDue, OperatorInfo, Plan, PlanPatch, Provisioner, QuotaNotice, QuotaPercent, QuotaUse,
    ReadRequest, ReadRows, Refilled, Standing, TenantBilling, TenantFilter, TenantPatch, TenantRow, TenantSchema,
    TenantUsage, WarmStatus,
};
pub use registry::{
    Actor, Identified, Limits, MeasuredStorage, Member, MemberFilter, MemberPatch, NewKey, NewMember, NotReady,
    Operator, OwnLimits, Principal, Refusal, Registry, SettingsChange, SettingsError, Tenant, TenantContext,
    TenantSettings, VerifiedToken, Via,
};
pub use statement::Statement;
pub use tokio_postgres::Row;
pub use tokio_postgres::types::{ToSql, Type};

/// The cell a tenant lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(pub i32);
