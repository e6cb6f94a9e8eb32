mod audit;
mod billing;
mod operators;
mod plans;
mod tenants;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
{
    OpenApiRouter::new()
        .merge(tenants::router())
        .merge(plans::router())
        .merge(operators::router())
        .merge(audit::router())
        .merge(billing::router())
}
