mod create;
mod delete;
mod get;
mod list;
mod oauth;
mod revoke;
mod rotate;
mod update;

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
        .routes(routes!(list::list_provider_accounts, create::create_provider_account))
        .routes(routes!(oauth::start::start_authorization))
        .routes(routes!(get::get_provider_account, update::update_provider_account, delete::delete_provider_account))
        .routes(routes!(rotate::rotate_provider_account))
        .routes(routes!(revoke::revoke_provider_account))
}
