//! Endpoints of operators, below `/admin/v1/metering` and `/admin/v1/prices`.

use axum::extract::FromRef;
use tenantry_control::{Rule, guard};
use utoipa_axum::router::OpenApiRouter;

use crate::Metering;

/// What each operation needs. One that is not here is refused to everybody.
pub const RULES: &[Rule] = &[];

/// All of them. They take an `OperatorScope`: mount them behind the layer of operators.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Metering: FromRef<S>,
{
    guard(OpenApiRouter::new(), RULES)
}
