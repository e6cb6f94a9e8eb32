mod create;
mod delete;
mod get;
mod list;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_price_overrides, create::create_price_override))
        .routes(routes!(get::get_price_override, delete::delete_price_override))
}

/// A change is seen here at once; on other servers when they look next. Where it cannot be read now, it is read then.
async fn changed(metering: &Metering) {
    if let Err(error) = metering.prices.refresh(&metering.db).await {
        tracing::warn!(target: "tenantry::prices", %error, "a changed price cannot be read yet");
    }
}
