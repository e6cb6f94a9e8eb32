mod get;
mod update;

use axum::extract::FromRef;
use tenantry_postgres::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Registry: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(get::get_settings, update::update_settings))
}
