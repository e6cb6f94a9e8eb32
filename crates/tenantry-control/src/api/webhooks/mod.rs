mod stripe;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::stripe::Stripe;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
    Stripe: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(stripe::receive_stripe_event))
}
