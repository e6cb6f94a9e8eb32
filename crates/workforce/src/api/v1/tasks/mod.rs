mod bulk;
mod claim;
mod create;
mod delete;
mod dependencies;
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
        .routes(routes!(list::list_tasks, create::create_task))
        .routes(routes!(get::get_task, update::update_task, delete::delete_task))
        .routes(routes!(claim::claim_tasks))
        .routes(routes!(bulk::bulk_tasks))
        .merge(dependencies::router())
}
