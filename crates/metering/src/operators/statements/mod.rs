mod get;
mod list;

use axum::extract::FromRef;
use tenantry_http::{Problem, codes};
use tenantry_postgres::MeterTx;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;
use crate::store::statements::{self as store, Tenant};

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Metering: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list::list_tenant_statements)).routes(routes!(get::get_tenant_statement))
}

/// The tenant that a path names.
async fn tenant(tx: &MeterTx, slug: &str) -> Result<Tenant, Problem> {
    let no_slug = slug.len() > 63 || slug.contains('\0');
    let found = if no_slug { Vec::new() } else { store::tenants(tx, None, Some(slug), 1).await? };
    found.into_iter().next().ok_or_else(|| Problem::of(&codes::TENANT_NOT_FOUND).detail("no tenant has this slug"))
}
