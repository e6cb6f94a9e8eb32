use axum::Json;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_http::TenantScope;
use tenantry_http::respond::Common;
use tenantry_postgres::{Limits, Via};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::members::MemberRole;
use crate::permissions::held_by;

/// Who the caller is, and what it may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "tenant": { "id": "0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4d", "slug": "acme", "plan_tier": "growth", "created_at": "2026-11-24T09:00:00Z" },
    "principal": { "kind": "api_key", "subject": "key:0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4e",
        "key": { "id": "0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4e", "name": "ci" } },
    "role": "owner", "scopes": ["tasks:read"], "permissions": ["tasks:read", "me:read"],
    "limits": { "requests_per_minute": 2000, "max_agents": 100, "max_concurrent_tasks": 200, "max_tasks_per_month": null, "storage_limit_gb": 50 },
}))]
pub(super) struct Me {
    /// The tenant that the credential is for.
    tenant: OwnTenant,
    /// Who the credential says the caller is.
    principal: Whoever,
    /// The role: a member's own, that of tokens of people who are no members, or `owner` for keys.
    role: MemberRole,
    /// What the credential is limited to, as it was made; empty is no limit.
    scopes: Vec<String>,
    /// What follows from role and scopes: the permissions by name.
    permissions: Vec<&'static str>,
    /// What the tenant may use: its own limits, and its plan's where it has none. `null` is unlimited.
    limits: OwnLimits,
}

/// The tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnTenant {
    /// Names it for good.
    id: Uuid,
    /// Its public name.
    slug: String,
    /// Its plan.
    plan_tier: String,
    /// Created.
    created_at: DateTime<Utc>,
}

/// A principal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Whoever {
    /// `api_key` or `token`.
    kind: &'static str,
    /// As the audit trail knows it: `sub` of the token, or `key:<id>`.
    subject: String,
    /// The key; `null` for tokens.
    #[schema(required)]
    key: Option<OwnKey>,
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnKey {
    /// Its id.
    id: Uuid,
    /// What it is for.
    name: String,
}

/// Limits.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnLimits {
    /// Requests a minute.
    #[schema(required)]
    requests_per_minute: Option<i32>,
    /// Live agents.
    #[schema(required)]
    max_agents: Option<i32>,
    /// Tasks at work at the same time.
    #[schema(required)]
    max_concurrent_tasks: Option<i32>,
    /// Tasks created in a month.
    #[schema(required)]
    max_tasks_per_month: Option<i32>,
    /// Storage in gibibytes.
    #[schema(required)]
    storage_limit_gb: Option<i32>,
}

impl From<Limits> for OwnLimits {
    fn from(limits: Limits) -> Self {
        Self {
            requests_per_minute: limits.requests_per_minute,
            max_agents: limits.max_agents,
            max_concurrent_tasks: limits.max_concurrent_tasks,
            max_tasks_per_month: limits.max_tasks_per_month,
            storage_limit_gb: limits.storage_limit_gb,
        }
    }
}

/// Tells who the caller is: tenant, principal, role, permissions and limits. Every credential may ask, whatever its scopes.
#[utoipa::path(
    get,
    path = "/v1/me",
    operation_id = "get_me",
    tag = "me",
    responses(Common, (status = 200, description = "who the caller is", body = Me)),
)]
async fn get_me(TenantScope(context): TenantScope) -> Json<Me> {
    let (tenant, principal) = (context.tenant(), context.principal());
    let key = match principal.via() {
        Via::ApiKey { id, name } => Some(OwnKey { id: *id.as_uuid(), name: name.clone() }),
        Via::Token | Via::System { .. } => None,
    };
    Json(Me {
        tenant: OwnTenant {
            id: *tenant.id.as_uuid(),
            slug: tenant.slug.to_string(),
            plan_tier: tenant.plan_tier.clone(),
            created_at: tenant.created_at,
        },
        principal: Whoever { kind: principal.kind(), subject: principal.subject().to_owned(), key },
        role: principal.role().into(),
        scopes: principal.scopes().to_vec(),
        permissions: held_by(principal),
        limits: tenant.limits.into(),
    })
}

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(get_me))
}
