mod events;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(events::list_billing_events))
}
