//! All routes of the server: tenants' endpoints and the gateway behind the tenant layer, operators' behind theirs, and the few
//! that are for everybody.

mod docs;
mod health;
mod openapi;
mod ready;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use tenantry_core::OperatorRole;
use tenantry_http::codes::ErrorCode;
use tenantry_http::{TenantRouter, harden_with, operator_auth};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

pub use openapi::document as openapi;

/// The tables of all error codes.
const ERROR_CODES: &[&[ErrorCode]] =
    &[tenantry_http::codes::CODES, workforce::codes::CODES, workforce::keychain::codes::CODES, metering::codes::CODES];

/// The complete router.
pub fn router(state: &AppState) -> Router {
    let (tenants, _) = of_tenants().split_for_parts();
    let (operators, _) = of_operators().split_for_parts();
    let (public, _) = public().split_for_parts();
    let (webhooks, _) = tenantry_control::webhooks::<AppState>().split_for_parts();
    let router = TenantRouter::from_untyped(tenants)
        .authorize(workforce::PERMISSIONS)
        .protect(&state.tenancy)
        .merge(protect_operators(operators, state))
        .merge(public)
        .merge(webhooks)
        .merge(docs::routes())
        .route("/openapi.json", openapi::route());
    // Not compressed: answers of providers go through as they are.
    let gateway = metering::gateway::router().authorize(workforce::PERMISSIONS).protect_passage(&state.tenancy);
    let router = router.layer(compression()).merge(gateway).with_state(state.clone());
    harden_with(router, state.tenancy.config(), &[state.gateway.dialect()])
}

/// Compresses answers from a kibibyte on for callers that accept gzip. Not problems: the outermost layer completes them, after this. Not
/// streams of events: each must leave at once.
fn compression() -> CompressionLayer<impl Predicate> {
    let worth_it = SizeAbove::new(1024)
        .and(NotForContentType::const_new("application/problem+json"))
        .and(NotForContentType::const_new("text/event-stream"));
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it)
}

fn protect_operators(routes: Router<AppState>, state: &AppState) -> Router<AppState> {
    if !routes.has_routes() {
        return routes;
    }
    routes.route_layer(from_fn_with_state(state.tenancy.clone(), operator_auth))
}

/// What tenants may ask.
fn of_tenants() -> OpenApiRouter<AppState> {
    workforce::router().merge(metering::api::router())
}

/// What operators may ask.
fn of_operators() -> OpenApiRouter<AppState> {
    tenantry_control::router().merge(metering::operators::router())
}

/// The least role of an operator for an operation; `path` as the route is written.
#[must_use]
pub fn least_role(method: &Method, path: &str) -> Option<OperatorRole> {
    [tenantry_control::RULES, metering::operators::RULES]
        .into_iter()
        .find_map(|rules| tenantry_control::least_role(rules, method, path))
}

/// What anybody may ask.
fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health::health)).routes(routes!(ready::ready)).merge(workforce::public_router())
}

/// The reference of every error code, as Markdown.
#[must_use]
pub fn error_reference() -> String {
    tenantry_http::codes::markdown(ERROR_CODES)
}
