//! Endpoints of operators, below `/admin/v1/metering` and `/admin/v1/prices`.

mod bills;
mod burn;
mod costs;
mod health;
mod margins;
mod page;
mod prices;
mod providers;
mod reconciliation;
mod respond;
mod statements;
mod unpriced;

use axum::extract::FromRef;
use axum::http::Method;
use tenantry_control::{Rule, guard, rule};
use tenantry_core::OperatorRole::{Admin, Viewer};
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;

/// What each operation needs. One that is not here is refused to everybody.
pub const RULES: &[Rule] = &[
    rule(Method::GET, "/metering/bills", Viewer),
    rule(Method::POST, "/metering/bills", Admin),
    rule(Method::GET, "/metering/burn", Viewer),
    rule(Method::GET, "/metering/costs", Viewer),
    rule(Method::GET, "/metering/health", Viewer),
    rule(Method::GET, "/metering/margins", Viewer),
    rule(Method::GET, "/metering/providers", Viewer),
    rule(Method::GET, "/metering/reconciliation", Viewer),
    rule(Method::GET, "/metering/statements/{slug}", Viewer),
    rule(Method::GET, "/metering/statements/{slug}/{month}", Viewer),
    rule(Method::GET, "/metering/unpriced", Viewer),
    rule(Method::GET, "/prices", Viewer),
    rule(Method::POST, "/prices", Admin),
    rule(Method::POST, "/prices/reprice", Admin),
];

/// All of them. They take an `OperatorScope`: mount them behind the layer of operators.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Metering: FromRef<S>,
    Provisioner: FromRef<S>,
{
    let routes = OpenApiRouter::new()
        .merge(bills::router())
        .routes(routes!(burn::list_burn))
        .routes(routes!(costs::list_metering_costs))
        .routes(routes!(health::get_metering_health))
        .routes(routes!(margins::list_margins))
        .merge(prices::router())
        .routes(routes!(providers::list_provider_health))
        .routes(routes!(reconciliation::list_reconciliation))
        .merge(statements::router())
        .routes(routes!(unpriced::list_unpriced));
    guard(routes, RULES)
}
