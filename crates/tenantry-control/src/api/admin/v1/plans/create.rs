use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use tenantry_http::{ApiJson, Problem, ProblemBody};
use tenantry_postgres::{NewPlan, Provisioner};
use utoipa::ToSchema;

use crate::api::caller::{Caller, Repeatable};
use crate::api::respond::{Common, WithBody, plan};
use crate::model::Plan;

/// A plan to be made. Limits that are absent or `null` are unlimited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tier": "team", "requests_per_minute": 1000, "max_agents": 50, "storage_limit_gb": 25 }))]
pub(super) struct CreatePlan {
    /// Name for good: 1 to 20 of a-z, 0-9, `_` and `-`.
    tier: String,
    /// Requests a minute.
    #[schema(minimum = 1)]
    requests_per_minute: Option<i32>,
    /// Agents.
    #[schema(minimum = 0)]
    max_agents: Option<i32>,
    /// Tasks at work at the same time.
    #[schema(minimum = 0)]
    max_concurrent_tasks: Option<i32>,
    /// Tasks created in a month.
    #[schema(minimum = 0)]
    max_tasks_per_month: Option<i32>,
    /// Storage in gibibytes.
    #[schema(minimum = 0)]
    storage_limit_gb: Option<i32>,
}

/// Makes a plan.
#[utoipa::path(
    post,
    path = "/admin/v1/plans",
    operation_id = "create_plan",
    tag = "plans",
    request_body = CreatePlan,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the new plan", body = Plan, headers(
            ("ETag" = String, description = "the version"),
            ("Location" = String, description = "the plan's address"),
        )),
        (status = 409, description = "a plan has the name", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_plan(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    ApiJson(body): ApiJson<CreatePlan>,
) -> Result<Response, Problem> {
    let new = NewPlan {
        tier: body.tier,
        requests_per_minute: body.requests_per_minute,
        max_agents: body.max_agents,
        max_concurrent_tasks: body.max_concurrent_tasks,
        max_tasks_per_month: body.max_tasks_per_month,
        storage_limit_gb: body.storage_limit_gb,
    };
    let made = once.on(&provisioner).create_plan(&new, &actor).await?;
    let location = HeaderValue::try_from(format!("/admin/v1/plans/{}", made.tier));
    let mut response = plan(StatusCode::CREATED, made);
    // names are letters, digits, `_` and `-`, so the conversion does not fail
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(once.answer(response))
}
