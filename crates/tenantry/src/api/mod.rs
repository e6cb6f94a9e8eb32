//! All routes of the server: tenants' endpoints behind the tenant layer, operators' behind theirs, and the few
//! that are for everybody.

mod docs;
mod health;
mod openapi;
mod ready;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tenantry_http::{TenantRouter, harden, operator_auth};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

pub use openapi::document as openapi;

/// The complete router.
pub fn router(state: &AppState) -> Router {
    let (tenants, _) = workforce::router::<AppState>().split_for_parts();
    let (operators, _) = tenantry_control::router::<AppState>().split_for_parts();
    let (public, _) = public().split_for_parts();
    let (webhooks, _) = tenantry_control::webhooks::<AppState>().split_for_parts();
    let router = TenantRouter::from_untyped(tenants)
        .authorize(workforce::PERMISSIONS)
        .protect(&state.tenancy)
        .merge(protect_operators(operators, state))
        .merge(public)
        .merge(webhooks)
        .merge(docs::routes())
        .route("/openapi.json", openapi::route())
        .with_state(state.clone());
    harden(router.layer(compression()), state.tenancy.config())
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

/// What anybody may ask.
fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health::health)).routes(routes!(ready::ready)).merge(workforce::public_router())
}

/// The reference of every error code, as Markdown.
#[must_use]
pub fn error_reference() -> String {
    tenantry_http::codes::markdown(&[
        tenantry_http::codes::CODES,
        workforce::codes::CODES,
        workforce::keychain::codes::CODES,
    ])
}
