mod get;

pub use get::{EffectiveLimit, EffectiveLimits, LimitSource, PlanInForce};

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(get::get_plan))
}
