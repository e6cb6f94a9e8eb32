//! The endpoints. Handlers parse, call the provisioner and map; one per file, and the file's path is the URL's.

mod admin;
mod caller;
mod permissions;
mod respond;
mod slug;
#[cfg(test)]
mod tests;
mod webhooks;

pub use caller::{Caller, Repeatable};
pub use permissions::{RULES, Rule, least_role, rule};
pub use respond::{Common, WithBody};

use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;

use crate::stripe::Stripe;

/// All endpoints below `/admin/v1`, with their OpenAPI description. Mount them behind
/// [`operator_auth`](tenantry_http::operator_auth), or each answers 401.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
{
    guard(admin::router(), RULES)
}

/// Lets an operator come to these routes, which are below `/admin/v1`, only with the role that their table asks for. For a domain's
/// own endpoints of operators.
pub fn guard<S>(routes: OpenApiRouter<S>, rules: &'static [Rule]) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    // A layer over nothing is refused by the router.
    if rules.is_empty() {
        return routes;
    }
    routes.route_layer(from_fn_with_state(rules, permissions::authorize))
}

/// What the payment provider calls, below `/webhooks`. It takes no credential: its requests are signed.
pub fn webhooks<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
    Stripe: FromRef<S>,
{
    webhooks::router()
}
