mod get;
mod list;

use axum::extract::FromRef;
use tenantry_http::{Problem, codes};
use tenantry_postgres::{MeterTx, ProvisionError, Provisioner};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::respond::invalid_query;
use crate::Metering;
use crate::store::statements::{self as store, Tenant};

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Metering: FromRef<S>,
    Provisioner: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list::list_tenant_statements)).routes(routes!(get::get_tenant_statement))
}

/// The tenant that a path names.
async fn tenant(tx: &MeterTx, slug: &str) -> Result<Tenant, Problem> {
    let no_slug = slug.len() > 63 || slug.contains('\0');
    let found = if no_slug { Vec::new() } else { store::tenants(tx, None, Some(slug), 1).await? };
    found.into_iter().next().ok_or_else(|| Problem::of(&codes::TENANT_NOT_FOUND).detail("no tenant has this slug"))
}

/// Why an operator reads what is a tenant's.
fn reason(given: Option<String>) -> Result<String, Problem> {
    let reason = given.unwrap_or_default();
    match Provisioner::check_reason(&reason) {
        Ok(()) => Ok(reason),
        Err(ProvisionError::Invalid { member, detail }) => Err(invalid_query(member, &detail)),
        Err(other) => Err(other.into()),
    }
}
