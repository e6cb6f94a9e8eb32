mod create;
mod delete;
mod get;
mod list;
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
    OpenApiRouter::new().routes(routes!(list::list_plans, create::create_plan)).routes(routes!(
        get::get_plan,
        update::update_plan,
        delete::delete_plan
    ))
}
