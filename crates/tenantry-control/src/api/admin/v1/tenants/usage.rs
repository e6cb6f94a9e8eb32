use axum::Json;
use axum::extract::State;
use tenantry_http::{ApiPath, OperatorScope, Problem};
use tenantry_postgres::Provisioner;

use crate::api::respond::{Common, OfTenant};
use crate::api::slug::PathSlug;
use crate::model::Usage;

/// Reads what a tenant uses of its limits, as the servers measured it last.
#[utoipa::path(
    get,
    path = "/admin/v1/tenants/{slug}/usage",
    operation_id = "get_tenant_usage",
    tag = "tenants",
    params(("slug" = String, Path, description = "the tenant's slug")),
    responses(Common, OfTenant, (status = 200, description = "what is used of each limit", body = Usage)),
)]
pub(super) async fn get_tenant_usage(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
) -> Result<Json<Usage>, Problem> {
    Ok(Json(provisioner.usage(slug.as_str()).await?.into()))
}
