use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody};
use tenantry_postgres::{Provisioner, TenantPatch};
use utoipa::ToSchema;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant, WithBody, expected_version, tenant};
use crate::api::slug::PathSlug;
use crate::model::Tenant;

/// A change of a tenant: a merge patch (RFC 7396). What is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "plan_tier": "professional", "max_agents": 25, "storage_limit_gb": null }))]
pub(super) struct UpdateTenant {
    /// Plan.
    #[serde(deserialize_with = "set")]
    #[schema(value_type = String, required = false)]
    plan_tier: Option<String>,
    /// Whom to write to.
    #[serde(deserialize_with = "set")]
    #[schema(value_type = String, required = false)]
    admin_email: Option<String>,
    /// Custom hosts, all of them; `null` is none.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<Vec<String>>)]
    allowed_domains: Option<Option<Vec<String>>>,
    /// `null` goes back to the plan's value.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    max_agents: Option<Option<i32>>,
    /// `null` goes back to the plan's value.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    max_tasks_per_month: Option<Option<i32>>,
    /// `null` goes back to the plan's value.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    storage_limit_gb: Option<Option<i32>>,
    /// `null` forgets it.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<String>)]
    stripe_customer_id: Option<Option<String>>,
    /// `null` forgets it.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<String>)]
    stripe_subscription_id: Option<Option<String>>,
    /// Time limit of a statement; `null` goes back to the server's default.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    statement_timeout_ms: Option<Option<i32>>,
    /// Time limit of waiting for a lock; `null` goes back to the server's default.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    lock_timeout_ms: Option<Option<i32>>,
    /// Whether it is migrated before all others.
    #[serde(deserialize_with = "set")]
    #[schema(value_type = bool, required = false)]
    canary: Option<bool>,
}

/// A member that has a value whenever it is there: `null` is refused.
fn set<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Tells `null`, which clears, from absence, which keeps.
fn set_or_clear<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// Changes a tenant: a merge patch.
///
/// `If-Match` is optional here, unlike for a tenant's own records: a patch sets the members it names to values that the operator
/// decided on, and two operators that set different members do not disturb each other. Whoever derives the new value from the
/// old one, such as by adding to `allowed_domains`, sends the `ETag` of what was read; a tenant changed since then is 409.
#[utoipa::path(
    patch,
    path = "/admin/v1/tenants/{slug}",
    operation_id = "update_tenant",
    tag = "tenants",
    params(
        ("slug" = String, Path, description = "the tenant's slug"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to change"),
    ),
    request_body = UpdateTenant,
    responses(
        Common,
        WithBody,
        OfTenant,
        (status = 200, description = "the changed tenant", body = Tenant, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 409, description = "the version is not the present one (`current` holds the tenant), or a domain is taken",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_tenant(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateTenant>,
) -> Result<Response, Problem> {
    let patch = TenantPatch {
        plan_tier: body.plan_tier,
        admin_email: body.admin_email,
        allowed_domains: body.allowed_domains.map(Option::unwrap_or_default),
        max_agents: body.max_agents,
        max_tasks_per_month: body.max_tasks_per_month,
        storage_limit_gb: body.storage_limit_gb,
        stripe_customer_id: body.stripe_customer_id,
        stripe_subscription_id: body.stripe_subscription_id,
        statement_timeout_ms: body.statement_timeout_ms,
        lock_timeout_ms: body.lock_timeout_ms,
        canary: body.canary,
        if_updated_at: expected_version(&headers)?,
    };
    Ok(tenant(provisioner.update(slug.as_str(), &patch, &actor).await?))
}
