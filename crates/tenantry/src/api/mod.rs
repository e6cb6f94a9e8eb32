//! All routes of the server: tenants' endpoints behind the tenant layer, operators' behind theirs, and the few
//! that are for everybody.

mod health;
mod openapi;
mod ready;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tenantry_http::{TenantRouter, harden, operator_auth};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

pub use openapi::document as openapi;

/// The complete router.
pub fn router(state: &AppState) -> Router {
    let (tenants, _) = workforce::router::<AppState>().split_for_parts();
    let (operators, _) = tenantry_control::router::<AppState>().split_for_parts();
    let (public, _) = public().split_for_parts();
    let router = TenantRouter::from_untyped(tenants)
        .authorize(workforce::PERMISSIONS)
        .protect(&state.tenancy)
        .merge(protect_operators(operators, state))
        .merge(public)
        .route("/openapi.json", openapi::route())
        .with_state(state.clone());
    harden(router, state.tenancy.config())
}

fn protect_operators(routes: Router<AppState>, state: &AppState) -> Router<AppState> {
    if !routes.has_routes() {
        return routes;
    }
    routes.route_layer(from_fn_with_state(state.tenancy.clone(), operator_auth))
}

/// What anybody may ask.
fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health::health)).routes(routes!(ready::ready))
}

/// The reference of every error code, as Markdown.
#[must_use]
pub fn error_reference() -> String {
    tenantry_http::codes::markdown(&[tenantry_http::codes::CODES, workforce::codes::CODES])
}
