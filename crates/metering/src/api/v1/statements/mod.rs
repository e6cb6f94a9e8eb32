mod get;
mod list;

use axum::extract::FromRef;
use tenantry_postgres::{TenantContext, TenantDb};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;
use crate::statements::Party;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list::list_statements)).routes(routes!(get::get_statement))
}

/// What a statement says of the tenant that asks.
fn party(context: &TenantContext) -> Party {
    let tenant = context.tenant();
    Party { id: *tenant.id.as_uuid(), zone: tenant.time_zone, display_currency: tenant.display_currency.clone() }
}
