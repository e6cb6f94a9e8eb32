mod agents;
mod credentials;
mod provider_accounts;
mod tasks;

use crate::Keychain;
use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Keychain: FromRef<S>,
{
    OpenApiRouter::new()
        .merge(agents::router())
        .merge(credentials::router())
        .merge(provider_accounts::router())
        .merge(tasks::router())
}
