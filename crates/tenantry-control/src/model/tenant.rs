use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenantry_core::TenantStatus;
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

use super::key::NewKey;

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TenantStatus)]
pub enum Status {
    /// Served.
    Active,
    /// Refused everywhere, data kept.
    Suspended,
    /// Refused everywhere, data kept until the grace period ends.
    Deleted,
}

impl From<TenantStatus> for Status {
    fn from(status: TenantStatus) -> Self {
        match status {
            TenantStatus::Active => Self::Active,
            TenantStatus::Suspended => Self::Suspended,
            TenantStatus::Deleted => Self::Deleted,
        }
    }
}

impl From<Status> for TenantStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Suspended => Self::Suspended,
            Status::Deleted => Self::Deleted,
        }
    }
}

/// A tenant. Limits that are `null` are the plan's.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tenant {
    /// Names it for good.
    pub id: Uuid,
    /// Public name.
    pub slug: String,
    /// Database schema.
    pub schema_name: String,
    /// Status.
    pub status: Status,
    /// Plan.
    pub plan_tier: String,
    /// Whom to write to.
    pub admin_email: String,
    /// Custom hosts.
    pub allowed_domains: Vec<String>,
    /// Overrides the plan.
    #[schema(required)]
    pub max_agents: Option<i32>,
    /// Overrides the plan.
    #[schema(required)]
    pub max_tasks_per_month: Option<i32>,
    /// Overrides the plan.
    #[schema(required)]
    pub storage_limit_gb: Option<i32>,
    /// Customer at the payment provider.
    #[schema(required)]
    pub stripe_customer_id: Option<String>,
    /// Subscription at the payment provider.
    #[schema(required)]
    pub stripe_subscription_id: Option<String>,
    /// Time limit of a statement; `null` is the server's default.
    #[schema(required)]
    pub statement_timeout_ms: Option<i32>,
    /// Time limit of waiting for a lock; `null` is the server's default.
    #[schema(required)]
    pub lock_timeout_ms: Option<i32>,
    /// The cell it is placed in.
    pub cell: i32,
    /// The cell's shard.
    pub shard: String,
    /// The version of its placement.
    pub generation: i64,
    /// The migration its schema is at.
    pub schema_version: i32,
    /// Whether it is migrated before all others.
    pub canary: bool,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Last changed; its `ETag` is made of it.
    pub updated_at: DateTime<Utc>,
    /// Deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl From<registry::TenantRow> for Tenant {
    fn from(row: registry::TenantRow) -> Self {
        Self {
            id: *row.id.as_uuid(),
            slug: row.slug.into(),
            schema_name: row.schema_name,
            status: row.status.into(),
            plan_tier: row.plan_tier,
            admin_email: row.admin_email,
            allowed_domains: row.allowed_domains,
            max_agents: row.max_agents,
            max_tasks_per_month: row.max_tasks_per_month,
            storage_limit_gb: row.storage_limit_gb,
            stripe_customer_id: row.stripe_customer_id,
            stripe_subscription_id: row.stripe_subscription_id,
            statement_timeout_ms: row.statement_timeout_ms,
            lock_timeout_ms: row.lock_timeout_ms,
            cell: row.cell,
            shard: row.shard,
            generation: row.generation,
            schema_version: row.schema_version,
            canary: row.canary,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }
}

/// A tenant just made, with its first key.
#[derive(Serialize, ToSchema)]
pub struct Provisioned {
    /// The tenant.
    pub tenant: Tenant,
    /// Its first API key.
    pub api_key: NewKey,
}

impl From<registry::CreatedTenant> for Provisioned {
    fn from(created: registry::CreatedTenant) -> Self {
        Self { tenant: created.tenant.into(), api_key: created.key.into() }
    }
}

/// A tenant in its grace period.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deletion {
    /// The tenant.
    pub tenant: Tenant,
    /// The first moment it may be purged; until then it can be restored.
    pub purge_after: DateTime<Utc>,
}

impl From<registry::DeleteOutcome> for Deletion {
    fn from(outcome: registry::DeleteOutcome) -> Self {
        Self { tenant: outcome.tenant.into(), purge_after: outcome.purge_after }
    }
}

/// Rows of a tenant, read by an operator.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reading {
    /// The table.
    pub table: String,
    /// Its columns, without those that hold secrets.
    pub columns: Vec<String>,
    /// The rows in the order of their ids.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Value>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}
