use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody};
use tenantry_postgres::{PlanPatch, Provisioner};
use utoipa::ToSchema;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant, WithBody, expected_version, plan};
use crate::model::Plan;

/// A change of a plan: a merge patch (RFC 7396). What is absent stays, `null` is unlimited.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "max_agents": 40, "max_tasks_per_month": null }))]
pub(super) struct UpdatePlan {
    /// Requests a minute.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 1)]
    requests_per_minute: Option<Option<i32>>,
    /// Agents.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    max_agents: Option<Option<i32>>,
    /// Tasks at work at the same time.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    max_concurrent_tasks: Option<Option<i32>>,
    /// Tasks created in a month.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    max_tasks_per_month: Option<Option<i32>>,
    /// Storage in gibibytes.
    #[serde(deserialize_with = "set_or_clear")]
    #[schema(value_type = Option<i32>, minimum = 0)]
    storage_limit_gb: Option<Option<i32>>,
}

/// Tells `null`, which clears, from absence, which keeps.
fn set_or_clear<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<i32>>, D::Error> {
    Option::<i32>::deserialize(from).map(Some)
}

/// Changes the limits of a plan, and with it of every tenant on it that has no limit of its own; servers know within a second.
/// `If-Match` is optional, as for tenants.
#[utoipa::path(
    patch,
    path = "/admin/v1/plans/{tier}",
    operation_id = "update_plan",
    tag = "plans",
    params(
        ("tier" = String, Path, description = "the plan's name"),
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the only version to change"),
    ),
    request_body = UpdatePlan,
    responses(
        Common,
        WithBody,
        OfTenant,
        (status = 200, description = "the changed plan", body = Plan, headers(("ETag" = String, description = "the new version"))),
        (status = 409, description = "the version is not the present one; `current` holds the plan",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_plan(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath(tier): ApiPath<String>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdatePlan>,
) -> Result<Response, Problem> {
    let patch = PlanPatch {
        requests_per_minute: body.requests_per_minute,
        max_agents: body.max_agents,
        max_concurrent_tasks: body.max_concurrent_tasks,
        max_tasks_per_month: body.max_tasks_per_month,
        storage_limit_gb: body.storage_limit_gb,
        if_updated_at: expected_version(&headers)?,
    };
    Ok(plan(StatusCode::OK, provisioner.update_plan(&tier, &patch, &actor).await?))
}
