use std::borrow::Cow;

use axum::Json;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "tenant": { "id": "0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4d", "slug": "acme", "plan_tier": "growth", "created_at": "2026-11-24T09:00:00Z" },
    "principal": { "kind": "api_key", "subject": "key:0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4e",
        "key": { "id": "0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4e", "name": "ci" } },
    "role": "owner", "scopes": ["tasks:read"], "permissions": ["tasks:read", "me:read"],
    "limits": { "requests_per_minute": 2000, "max_agents": 100, "max_concurrent_tasks": 200, "max_tasks_per_month": null, "storage_limit_gb": 50 },
}))]
pub struct Me {
    /// The tenant that the credential is for.
    pub tenant: OwnTenant,
    /// Who the credential says the caller is.
    pub principal: Whoever,
    /// The role: a member's own, that of tokens of people who are no members, or `owner` for keys.
    pub role: MemberRole,
    /// What the credential is limited to, as it was made; empty is no limit.
    pub scopes: Vec<String>,
    /// What follows from role and scopes: the permissions by name.
    pub permissions: Vec<Cow<'static, str>>,
    /// What the tenant may use: its own limits, and its plan's where it has none. `null` is unlimited.
    pub limits: OwnLimits,
}

/// The tenant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnTenant {
    /// Names it for good.
    pub id: Uuid,
    /// Its public name.
    pub slug: String,
    /// Its plan.
    pub plan_tier: String,
    /// Created.
    pub created_at: DateTime<Utc>,
}

/// A principal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Whoever {
    /// `api_key` or `token`.
    pub kind: Cow<'static, str>,
    /// As the audit trail knows it: `sub` of the token, or `key:<id>`.
    pub subject: String,
    /// The key; `null` for tokens.
    #[schema(required)]
    pub key: Option<OwnKey>,
}

/// A key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnKey {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
}

/// Limits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnLimits {
    /// Requests a minute.
    #[schema(required)]
    pub requests_per_minute: Option<i32>,
    /// Live agents.
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
        principal: Whoever { kind: principal.kind().into(), subject: principal.subject().to_owned(), key },
        role: principal.role().into(),
        scopes: principal.scopes().to_vec(),
        permissions: held_by(principal).into_iter().map(Into::into).collect(),
        limits: tenant.limits.into(),
    })
}

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(get_me))
}
