use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tenantry_http::{ApiJson, ApiPath, Problem, ProblemBody, codes};
use tenantry_postgres::Provisioner;
use utoipa::ToSchema;

use crate::api::caller::{Caller, Repeatable};
use crate::api::respond::{Common, OfTenant, WithBody};
use crate::api::slug::PathSlug;
use crate::model::Tenant;

/// Says that the destruction is meant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "confirm": "acme" }))]
pub(super) struct PurgeTenant {
    /// The tenant's slug again.
    #[schema(value_type = String, required = true)]
    confirm: Option<String>,
}

/// Removes a deleted tenant for good, once its grace period is over: schema, role, keys and registry row. The audit trail stays.
#[utoipa::path(
    post,
    path = "/admin/v1/tenants/{slug}/purge",
    operation_id = "purge_tenant",
    tag = "tenants",
    params(("slug" = String, Path, description = "the tenant's slug")),
    request_body = PurgeTenant,
    responses(
        Common,
        WithBody,
        OfTenant,
        (status = 200, description = "the tenant as it was", body = Tenant),
        (status = 409, description = "the tenant is not deleted, or its grace period is not over",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn purge_tenant(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
    body: Option<ApiJson<PurgeTenant>>,
) -> Result<Response, Problem> {
    // Without a body it is not said either.
    let confirm = body.and_then(|ApiJson(body)| body.confirm);
    if confirm.as_deref() != Some(slug.as_str()) {
        let detail = format!("`confirm` must be `{}`", slug.as_str());
        return Err(Problem::of(&codes::CONFIRMATION_REQUIRED).pointer("/confirm", &detail).detail(detail));
    }
    let purged = once.on(&provisioner).purge(slug.as_str(), provisioner.grace(), &actor).await?;
    Ok(once.answer(Json(Tenant::from(purged)).into_response()))
}
