use axum::Json;
use axum::extract::State;
use tenantry_http::{ApiPath, Problem};
use tenantry_postgres::Provisioner;

use crate::api::caller::Caller;
use crate::api::respond::{Common, OfTenant};
use crate::api::slug::PathSlug;
use crate::model::Deletion;

/// Deletes a tenant: it is refused everywhere within a second, and its grace period starts. Nothing is removed until it is
/// purged. Deleting again changes nothing and does not prolong the period.
///
/// It takes no version: the lifecycle itself refuses a step that does not follow from the present status.
#[utoipa::path(
    delete,
    path = "/admin/v1/tenants/{slug}",
    operation_id = "delete_tenant",
    tag = "tenants",
    params(("slug" = String, Path, description = "the tenant's slug")),
    responses(
        Common,
        OfTenant,
        (status = 200, description = "the tenant, and when it may be purged", body = Deletion),
    ),
)]
pub(super) async fn delete_tenant(
    Caller(actor): Caller,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
) -> Result<Json<Deletion>, Problem> {
    Ok(Json(provisioner.delete(slug.as_str(), provisioner.grace(), &actor).await?.into()))
}
