mod activity;
mod agents;
mod events;
mod messages;
mod sessions;
mod tasks;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
{
    OpenApiRouter::new()
        .merge(agents::router())
        .merge(events::router())
        .merge(tasks::router())
        .merge(messages::router())
        .merge(activity::router())
        .merge(sessions::router())
}
