use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tenantry_core::Slug;
use tenantry_http::{ApiJson, Problem, ProblemBody};
use tenantry_postgres::{NewTenant, OwnLimits, ProvisionError, Provisioner};
use utoipa::ToSchema;

use crate::api::caller::{Caller, Repeatable};
use crate::api::respond::{Common, WithBody, created};
use crate::model::Provisioned;

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "slug": "acme", "admin_email": "ops@acme.example", "plan_tier": "free", "allowed_domains": ["api.acme.example"] }))]
pub(super) struct CreateTenant {
    /// Public name for good: 1 to 63 of a-z, 0-9 and `-`, a letter or digit at both ends, not reserved by the platform.
    slug: String,
    /// Whom to write to.
    admin_email: String,
    /// Plan; `free` unless given.
    #[serde(default = "free")]
    #[schema(required = false, default = "free")]
    plan_tier: String,
    /// Custom hosts, each of one tenant only.
    #[serde(default)]
    #[schema(required = false)]
    allowed_domains: Vec<String>,
    /// A cell and a database login of its own.
    #[serde(default)]
    #[schema(required = false)]
    dedicated: bool,
    /// Overrides the plan.
    max_agents: Option<i32>,
    /// Overrides the plan.
    max_tasks_per_month: Option<i32>,
    /// Overrides the plan.
    storage_limit_gb: Option<i32>,
}

fn free() -> String {
    "free".to_owned()
}

/// Makes a tenant, complete or not at all: registry, schema, role, tables, grants, audit event and first API key. The key's
/// token is shown in this answer only. Of two requests for one slug one wins and the other gets 409.
///
/// With an `Idempotency-Key` a repetition gets the same answer, token included. Without one the slug makes it harmless: on 409
/// the tenant is found by its slug, and another key can be made.
#[utoipa::path(
    post,
    path = "/admin/v1/tenants",
    operation_id = "create_tenant",
    tag = "tenants",
    request_body = CreateTenant,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new tenant and its first key", body = Provisioned, headers(
            ("Location" = String, description = "the tenant's address"),
        )),
        (status = 409, description = "the slug or a domain is taken", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_tenant(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    ApiJson(body): ApiJson<CreateTenant>,
) -> Result<Response, Problem> {
    let new = NewTenant {
        slug: body.slug.parse::<Slug>().map_err(ProvisionError::from)?,
        admin_email: body.admin_email,
        plan_tier: body.plan_tier,
        allowed_domains: body.allowed_domains,
        dedicated: body.dedicated,
    };
    let limits = OwnLimits {
        max_agents: body.max_agents,
        max_tasks_per_month: body.max_tasks_per_month,
        storage_limit_gb: body.storage_limit_gb,
    };
    let made = once.on(&provisioner).create_with(&new, limits, &actor).await?;
    Ok(once.answer(created(format!("/admin/v1/tenants/{}", new.slug), &Provisioned::from(made))))
}
