use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_postgres as registry;
use utoipa::ToSchema;

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
