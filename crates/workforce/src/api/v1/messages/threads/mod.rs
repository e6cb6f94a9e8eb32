mod get;
mod list;
mod read;

use axum::extract::FromRef;
use serde::Deserialize;
use tenantry_postgres::TenantDb;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AgentId;

/// The two sides of a thread. It is read from the side of the first.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Sides {
    /// Whose thread it is.
    #[param(value_type = uuid::Uuid)]
    agent_id: AgentId,
    /// With whom.
    #[param(value_type = uuid::Uuid)]
    other_agent_id: AgentId,
}

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_threads))
        .routes(routes!(get::get_thread))
        .routes(routes!(read::read_thread))
}
