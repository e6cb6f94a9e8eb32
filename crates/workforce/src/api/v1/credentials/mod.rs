mod create;
mod delete;
mod get;
mod list;
mod update;
#[path = "use.rs"]
mod use_credential;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Keychain;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Keychain: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_credentials, create::create_credential))
        .routes(routes!(get::get_credential, update::update_credential, delete::delete_credential))
        .routes(routes!(use_credential::use_credential))
}
