use axum::Json;
use serde::{Deserialize, Serialize};
use tenantry_http::TenantScope;
use tenantry_http::respond::Common;
use utoipa::ToSchema;

/// What a company may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"tier": "starter", "limits": {
    "requests_per_minute": {"value": 500, "source": "plan"}, "max_agents": {"value": 40, "source": "override"},
    "max_concurrent_tasks": {"value": 50, "source": "plan"}, "max_tasks_per_month": {"value": null, "source": "plan"},
    "storage_limit_gb": {"value": 10, "source": "plan"}}}))]
pub struct PlanInForce {
    /// The plan's name.
    pub tier: String,
    /// The limits in force.
    pub limits: EffectiveLimits,
}

/// The limits in force, each with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveLimits {
    /// Requests a minute.
    pub requests_per_minute: EffectiveLimit,
    /// Live agents.
    pub max_agents: EffectiveLimit,
    /// Tasks in progress.
    pub max_concurrent_tasks: EffectiveLimit,
    /// Tasks created in a calendar month.
    pub max_tasks_per_month: EffectiveLimit,
    /// Storage in gibibytes.
    pub storage_limit_gb: EffectiveLimit,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveLimit {
    /// Its value; null is unlimited.
    pub value: Option<i32>,
    /// Where it comes from.
    pub source: LimitSource,
}

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The plan.
    Plan,
    /// The company has a limit of its own in the place of the plan's.
    Override,
}

/// Reads the plan and the limits in force.
#[utoipa::path(
    get,
    path = "/v1/plan",
    operation_id = "get_plan",
    tag = "account",
    responses(Common, (status = 200, description = "the plan", body = PlanInForce)),
)]
pub(super) async fn get_plan(TenantScope(context): TenantScope) -> Json<PlanInForce> {
    let tenant = context.tenant();
    let (limits, own) = (&tenant.limits, &tenant.own_limits);
    let limit = |value: Option<i32>, own: Option<i32>| EffectiveLimit {
        value,
        source: if own.is_some() { LimitSource::Override } else { LimitSource::Plan },
    };
    Json(PlanInForce {
        tier: tenant.plan_tier.clone(),
        limits: EffectiveLimits {
            requests_per_minute: limit(limits.requests_per_minute, None),
            max_agents: limit(limits.max_agents, own.max_agents),
            max_concurrent_tasks: limit(limits.max_concurrent_tasks, None),
            max_tasks_per_month: limit(limits.max_tasks_per_month, own.max_tasks_per_month),
            storage_limit_gb: limit(limits.storage_limit_gb, own.storage_limit_gb),
        },
    })
}
