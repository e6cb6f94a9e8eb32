mod create;
mod delete;
mod get;
mod list;
mod preview;
mod run;
mod update;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Scheduling;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Scheduling: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_schedules, create::create_schedule))
        .routes(routes!(preview::preview_schedule))
        .routes(routes!(get::get_schedule, update::update_schedule, delete::delete_schedule))
        .routes(routes!(run::run_schedule))
}
