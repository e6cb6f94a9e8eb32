mod list;
mod model;
mod overrides;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;

pub use model::{CreatePriceOverride, PriceOverride};

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list::list_prices)).merge(overrides::router())
}
