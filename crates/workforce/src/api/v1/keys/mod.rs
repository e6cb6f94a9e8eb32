mod create;
mod get;
mod list;
mod model;
mod revoke;

use axum::extract::FromRef;
pub use create::CreateApiKey;
pub use model::{ApiKey, NewApiKey};
use tenantry_postgres::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Registry: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_api_keys, create::create_api_key))
        .routes(routes!(get::get_api_key, revoke::revoke_api_key))
}
