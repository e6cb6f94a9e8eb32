use axum::extract::State;
use axum::response::Response;
use tenantry_http::{ApiPath, OperatorScope, Problem};
use tenantry_postgres::Provisioner;

use crate::api::respond::{Common, OfTenant, tenant};
use crate::api::slug::PathSlug;
use crate::model::Tenant;

/// Reads a tenant, whatever its status.
#[utoipa::path(
    get,
    path = "/admin/v1/tenants/{slug}",
    operation_id = "get_tenant",
    tag = "tenants",
    params(("slug" = String, Path, description = "the tenant's slug")),
    responses(
        Common,
        OfTenant,
        (status = 200, description = "the tenant", body = Tenant, headers(("ETag" = String, description = "the version"))),
    ),
)]
pub(super) async fn get_tenant(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
) -> Result<Response, Problem> {
    Ok(tenant(provisioner.show(slug.as_str()).await?))
}
