mod billing;
mod create;
mod delete;
mod get;
mod keys;
mod list;
mod purge;
mod reads;
mod restore;
mod resume;
mod suspend;
mod update;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_tenants, create::create_tenant))
        .routes(routes!(get::get_tenant, update::update_tenant, delete::delete_tenant))
        .routes(routes!(suspend::suspend_tenant))
        .routes(routes!(resume::resume_tenant))
        .routes(routes!(restore::restore_tenant))
        .routes(routes!(purge::purge_tenant))
        .routes(routes!(billing::get_tenant_billing))
        .routes(routes!(reads::read_rows))
        .merge(keys::router())
}
