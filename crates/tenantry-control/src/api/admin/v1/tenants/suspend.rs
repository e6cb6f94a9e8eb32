use axum::extract::State;
use axum::response::Response;
use tenantry_http::{ApiPath, Problem, ProblemBody};
use tenantry_postgres::Provisioner;

use crate::api::caller::{Caller, Repeatable};
use crate::api::respond::{Common, OfTenant, tenant};
use crate::api::slug::PathSlug;
use crate::model::Tenant;

/// Suspends a tenant: it is refused everywhere within a second, its data stays. Suspending again changes nothing.
///
/// It takes no version: the lifecycle itself refuses a step that does not follow from the present status.
#[utoipa::path(
    post,
    path = "/admin/v1/tenants/{slug}/suspend",
    operation_id = "suspend_tenant",
    tag = "tenants",
    params(("slug" = String, Path, description = "the tenant's slug")),
    responses(
        Common,
        OfTenant,
        (status = 200, description = "the tenant", body = Tenant, headers(("ETag" = String, description = "the version"))),
        (status = 409, description = "the tenant is deleted", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn suspend_tenant(
    Caller(actor): Caller,
    once: Repeatable,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
) -> Result<Response, Problem> {
    Ok(once.answer(tenant(once.on(&provisioner).suspend(slug.as_str(), &actor).await?)))
}
