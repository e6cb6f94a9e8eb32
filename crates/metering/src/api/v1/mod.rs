pub mod analytics;
mod budgets;
pub(crate) mod prices;
mod provider_calls;
mod statements;

use axum::extract::FromRef;
use tenantry_postgres::{Registry, TenantDb};
use utoipa_axum::router::OpenApiRouter;
use workforce::Keychain;

use crate::Metering;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Registry: FromRef<S>,
    Keychain: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new()
        .merge(analytics::router())
        .merge(budgets::router())
        .merge(prices::router())
        .merge(provider_calls::router())
        .merge(statements::router())
}
