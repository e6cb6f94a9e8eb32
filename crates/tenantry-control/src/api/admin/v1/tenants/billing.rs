use axum::Json;
use axum::extract::State;
use tenantry_http::{ApiPath, OperatorScope, Problem};
use tenantry_postgres::Provisioner;

use crate::api::respond::{Common, OfTenant};
use crate::api::slug::PathSlug;
use crate::model::Billing;

/// Shows where a tenant stands with its payments.
#[utoipa::path(
    get,
    path = "/admin/v1/tenants/{slug}/billing",
    operation_id = "get_tenant_billing",
    tag = "billing",
    params(("slug" = String, Path, description = "the tenant's slug")),
    responses(Common, OfTenant, (status = 200, description = "where it stands", body = Billing)),
)]
pub(super) async fn get_tenant_billing(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiPath(slug): ApiPath<PathSlug>,
) -> Result<Json<Billing>, Problem> {
    Ok(Json(provisioner.tenant_billing(slug.as_str()).await?.into()))
}
