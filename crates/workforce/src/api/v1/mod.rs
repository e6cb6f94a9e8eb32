mod activity;
mod agents;
mod credentials;
mod events;
pub(crate) mod keys;
pub(crate) mod me;
pub(crate) mod members;
mod messages;
pub(crate) mod plan;
mod provider_accounts;
mod schedules;
mod sessions;
mod settings;
mod tasks;
pub(crate) mod usage;

use axum::extract::FromRef;
use tenantry_postgres::{Registry, TenantDb};
use utoipa_axum::router::OpenApiRouter;

use crate::{Keychain, Scheduling};

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Registry: FromRef<S>,
    Scheduling: FromRef<S>,
    TenantDb: FromRef<S>,
    Keychain: FromRef<S>,
    Registry: FromRef<S>,
{
    OpenApiRouter::new()
        .merge(agents::router())
        .merge(credentials::router())
        .merge(events::router())
        .merge(provider_accounts::router())
        .merge(tasks::router())
        .merge(members::router())
        .merge(keys::router())
        .merge(me::router())
        .merge(messages::router())
        .merge(activity::router())
        .merge(sessions::router())
        .merge(schedules::router())
        .merge(settings::router())
        .merge(plan::router())
        .merge(usage::router())
}
