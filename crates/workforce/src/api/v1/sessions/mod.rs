mod create;
mod end;
mod fail;
mod get;
mod list;
mod usage;

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
        .routes(routes!(list::list_sessions, create::create_session))
        .routes(routes!(get::get_session))
        .routes(routes!(usage::report_session_usage))
        .routes(routes!(end::end_session))
        .routes(routes!(fail::fail_session))
}
