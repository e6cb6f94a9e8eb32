mod approve;
mod broadcasts;
mod create;
mod delete;
mod deliver;
mod get;
mod list;
mod read;
mod reject;
mod threads;
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
        .routes(routes!(list::list_messages, create::create_message))
        .merge(broadcasts::router())
        .merge(threads::router())
        .routes(routes!(get::get_message, update::update_message, delete::delete_message))
        .routes(routes!(deliver::deliver_message))
        .routes(routes!(read::read_message))
        .routes(routes!(approve::approve_message))
        .routes(routes!(reject::reject_message))
}
