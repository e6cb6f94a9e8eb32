mod activity;
mod agents;
mod keys;
mod me;
mod members;
mod messages;
mod sessions;
mod tasks;

use axum::extract::FromRef;
use tenantry_postgres::{Registry, TenantDb};
use utoipa_axum::router::OpenApiRouter;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Registry: FromRef<S>,
{
    OpenApiRouter::new()
        .merge(agents::router())
        .merge(tasks::router())
        .merge(members::router())
        .merge(keys::router())
        .merge(me::router())
        .merge(messages::router())
        .merge(activity::router())
        .merge(sessions::router())
}
