mod agents;
mod plan;
mod tasks;
mod usage;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
{
    OpenApiRouter::new().merge(agents::router()).merge(plan::router()).merge(tasks::router()).merge(usage::router())
}
