mod callback;

use axum::extract::FromRef;
use tenantry_postgres::{Registry, TenantDb};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Keychain;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Registry: FromRef<S>,
    Keychain: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(callback::oauth_callback))
}
