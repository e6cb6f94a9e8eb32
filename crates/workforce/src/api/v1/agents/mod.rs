mod bulk;
mod create;
mod delete;
mod get;
mod list;
mod update;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_agents, create::create_agent))
        .routes(routes!(get::get_agent, update::update_agent, delete::delete_agent))
        .routes(routes!(bulk::bulk_agents))
}
