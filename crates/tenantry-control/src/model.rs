//! What operators read. The registry's rows as JSON, with the same names.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenantry_core::{OperatorRole, TenantStatus};
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

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

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// What the key is limited to; empty is nothing in particular.
    pub scopes: Vec<String>,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Not valid from then on.
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl From<registry::ApiKeyInfo> for Key {
    fn from(key: registry::ApiKeyInfo) -> Self {
        Self {
            id: *key.id.as_uuid(),
            name: key.name,
            lookup: key.lookup,
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A key just made, with its token.
#[derive(Serialize, ToSchema)]
pub struct NewKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// The whole token. This is the only time it is shown.
    pub token: String,
}

impl From<registry::CreatedKey> for NewKey {
    fn from(created: registry::CreatedKey) -> Self {
        Self { key: created.info.into(), token: shown(&created.token) }
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

/// What an operator's token may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperatorRole)]
pub enum Role {
    /// Reads the registry and the audit trail.
    #[default]
    Viewer,
    /// Suspends and resumes tenants, and reads a tenant's rows with a reason.
    Support,
    /// Everything.
    Admin,
}

impl From<OperatorRole> for Role {
    fn from(role: OperatorRole) -> Self {
        match role {
            OperatorRole::Viewer => Self::Viewer,
            OperatorRole::Support => Self::Support,
            OperatorRole::Admin => Self::Admin,
        }
    }
}

impl From<Role> for OperatorRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Support => Self::Support,
            Role::Admin => Self::Admin,
        }
    }
}

/// An operator's token without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Operator {
    /// Id.
    pub id: Uuid,
    /// Name, by which the audit trail calls the operator.
    pub name: String,
    /// What the token may do.
    pub role: Role,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Not valid from then on.
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl From<registry::OperatorInfo> for Operator {
    fn from(info: registry::OperatorInfo) -> Self {
        let registry::OperatorInfo { id, name, role, lookup, created_at, expires_at, revoked_at } = info;
        Self { id, name, role: role.into(), lookup, created_at, expires_at, revoked_at }
    }
}

/// An operator just made, with the token.
#[derive(Serialize, ToSchema)]
pub struct NewOperator {
    /// The operator.
    #[serde(flatten)]
    pub operator: Operator,
    /// The whole token. This is the only time it is shown.
    pub token: String,
}

impl From<registry::CreatedOperator> for NewOperator {
    fn from(created: registry::CreatedOperator) -> Self {
        Self { operator: created.info.into(), token: shown(&created.token) }
    }
}

/// A plan. Limits that are `null` are unlimited.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    /// Name.
    pub tier: String,
    /// Requests a minute.
    #[schema(required)]
    pub requests_per_minute: Option<i32>,
    /// Agents.
    #[schema(required)]
    pub max_agents: Option<i32>,
    /// Tasks at work at the same time.
    #[schema(required)]
    pub max_concurrent_tasks: Option<i32>,
    /// Tasks created in a month.
    #[schema(required)]
    pub max_tasks_per_month: Option<i32>,
    /// Storage in gibibytes.
    #[schema(required)]
    pub storage_limit_gb: Option<i32>,
    /// Last changed; its `ETag` is made of it.
    pub updated_at: DateTime<Utc>,
}

impl From<registry::Plan> for Plan {
    fn from(plan: registry::Plan) -> Self {
        let registry::Plan {
            tier,
            requests_per_minute,
            max_agents,
            max_concurrent_tasks,
            max_tasks_per_month,
            storage_limit_gb,
            updated_at,
        } = plan;
        Self {
            tier,
            requests_per_minute,
            max_agents,
            max_concurrent_tasks,
            max_tasks_per_month,
            storage_limit_gb,
            updated_at,
        }
    }
}

/// One entry of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEvent {
    /// Its number; later events have higher ones.
    pub id: i64,
    /// The tenant concerned, which may be purged by now.
    #[schema(required)]
    pub tenant_id: Option<Uuid>,
    /// When.
    pub at: DateTime<Utc>,
    /// `api_key`, `token`, `operator`, `cli`, `system` or `anonymous`.
    pub actor_kind: String,
    /// Who, within the kind.
    pub actor: String,
    /// What was done, such as `tenant.create`.
    pub action: String,
    /// To what, such as `tenant/<id>`.
    pub target: String,
    /// The request it was done in.
    #[schema(required)]
    pub request_id: Option<String>,
    /// The client's address.
    #[schema(required)]
    pub client_ip: Option<String>,
    /// What the action adds.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl From<registry::AuditEvent> for AuditEvent {
    fn from(event: registry::AuditEvent) -> Self {
        Self {
            id: event.id,
            tenant_id: event.tenant_id.map(|id| *id.as_uuid()),
            at: event.at,
            actor_kind: event.actor_kind,
            actor: event.actor,
            action: event.action,
            target: event.target,
            request_id: event.request_id,
            client_ip: event.client_ip,
            details: event.details,
        }
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

/// An event of the payment provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct BillingEvent {
    /// The provider's id.
    pub id: String,
    /// What happened, in the provider's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub created: DateTime<Utc>,
    /// Whose it is there.
    pub customer: String,
    /// Of which subscription.
    pub subscription: String,
    /// The subscription's status at that moment; `null` for events of invoices.
    #[schema(required)]
    pub status: Option<String>,
    /// The prices paid for; empty for events of invoices.
    pub prices: Vec<String>,
    /// The tenant, which may be purged by now; `null` as long as no one tenant has the customer.
    #[schema(required)]
    pub tenant_id: Option<Uuid>,
    /// `applied`, `unchanged`, `unknown_customer` or `ambiguous_customer`.
    pub outcome: String,
    /// What an operator should know about it, such as a price without a plan.
    #[schema(required)]
    pub detail: Option<String>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When it was counted for its tenant.
    #[schema(required)]
    pub applied_at: Option<DateTime<Utc>>,
}

impl From<registry::BillingEventRow> for BillingEvent {
    fn from(row: registry::BillingEventRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            created: row.created,
            customer: row.customer,
            subscription: row.subscription,
            status: row.status,
            prices: row.prices,
            tenant_id: row.tenant_id.map(|id| *id.as_uuid()),
            outcome: row.outcome,
            detail: row.detail,
            received_at: row.received_at,
            applied_at: row.applied_at,
        }
    }
}

/// Where a tenant stands with its payments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Billing {
    /// `none`, `paid`, `past_due` or `cancelled`; `none` also as long as nothing was heard of its customer.
    pub standing: String,
    /// Its customer at the provider.
    #[schema(required)]
    pub customer: Option<String>,
    /// The subscription that counts.
    #[schema(required)]
    pub subscription: Option<String>,
    /// The plan that the payments ask for; operators may have given another one since.
    #[schema(required)]
    pub plan_tier: Option<String>,
    /// Since when a payment is missing.
    #[schema(required)]
    pub past_due_since: Option<DateTime<Utc>>,
    /// When the subscription ended.
    #[schema(required)]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// From when on the tenant is to be suspended.
    #[schema(required)]
    pub suspend_at: Option<DateTime<Utc>>,
    /// Whether it is suspended for this, so that a payment ends it.
    pub suspended: bool,
    /// When this last changed.
    #[schema(required)]
    pub updated_at: Option<DateTime<Utc>>,
}

impl From<Option<registry::TenantBilling>> for Billing {
    fn from(billing: Option<registry::TenantBilling>) -> Self {
        match billing {
            Some(b) => Self {
                standing: b.standing,
                customer: Some(b.customer),
                subscription: b.subscription,
                plan_tier: b.plan_tier,
                past_due_since: b.past_due_since,
                cancelled_at: b.cancelled_at,
                suspend_at: b.suspend_at,
                suspended: b.suspended,
                updated_at: Some(b.updated_at),
            },
            None => Self {
                standing: registry::Standing::None.as_str().to_owned(),
                customer: None,
                subscription: None,
                plan_tier: None,
                past_due_since: None,
                cancelled_at: None,
                suspend_at: None,
                suspended: false,
                updated_at: None,
            },
        }
    }
}

/// The one place where a secret becomes text: the answer to the request that made it.
fn shown(token: &SecretString) -> String {
    token.expose_secret().to_owned()
}
