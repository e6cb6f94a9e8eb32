use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_postgres as registry;
use utoipa::ToSchema;

/// What a tenant uses of its limits, as it was measured last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"slug": "acme", "plan_tier": "free", "storage_frozen": false, "measured_at": "2026-11-24T08:00:00Z",
    "quotas": [{"quota_type": "agents", "limit_name": "max_agents", "used": 4, "limit": 5, "percent": 80.0}]}))]
pub struct Usage {
    /// The tenant.
    pub slug: String,
    /// Its plan.
    pub plan_tier: String,
    /// Of each limit.
    pub quotas: Vec<QuotaUse>,
    /// Whether its writes are refused for want of storage.
    pub storage_frozen: bool,
    /// When it was measured; null: never yet.
    #[schema(required)]
    pub measured_at: Option<DateTime<Utc>>,
}

/// How much of one limit a tenant uses.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaUse {
    /// `agents`, `tasks`, `concurrent_tasks` or `storage`.
    pub quota_type: String,
    /// The member of plans and tenants that limits it.
    pub limit_name: String,
    /// How much there is, of storage in bytes; null before the first measurement.
    #[schema(required)]
    pub used: Option<i64>,
    /// How much there may be; null is unlimited.
    #[schema(required)]
    pub limit: Option<i64>,
    /// Of the limit.
    #[schema(required)]
    pub percent: Option<f64>,
}

impl From<registry::TenantUsage> for Usage {
    fn from(usage: registry::TenantUsage) -> Self {
        let quota = |quota: registry::QuotaUse| QuotaUse {
            quota_type: quota.quota_type,
            limit_name: quota.limit_name,
            used: quota.used,
            limit: quota.limit,
            percent: quota.percent,
        };
        Self {
            slug: usage.slug,
            plan_tier: usage.plan_tier,
            quotas: usage.quotas.into_iter().map(quota).collect(),
            storage_frozen: usage.storage_frozen,
            measured_at: usage.measured_at,
        }
    }
}
