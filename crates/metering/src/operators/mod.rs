//! Endpoints of operators, below `/admin/v1/metering` and `/admin/v1/prices`.

mod prices;

use axum::extract::FromRef;
use axum::http::Method;
use tenantry_control::{Rule, guard, rule};
use tenantry_core::OperatorRole::{Admin, Viewer};
use utoipa_axum::router::OpenApiRouter;

use crate::Metering;

/// What each operation needs. One that is not here is refused to everybody.
pub const RULES: &[Rule] = &[
    rule(Method::GET, "/prices", Viewer),
    rule(Method::POST, "/prices", Admin),
    rule(Method::POST, "/prices/reprice", Admin),
];

/// All of them. They take an `OperatorScope`: mount them behind the layer of operators.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Metering: FromRef<S>,
{
    guard(OpenApiRouter::new().merge(prices::router()), RULES)
}
