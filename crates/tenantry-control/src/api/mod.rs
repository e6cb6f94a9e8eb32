//! The endpoints. Handlers parse, call the provisioner and map; one per file, and the file's path is the URL's.

mod admin;
mod caller;
mod respond;
mod slug;
#[cfg(test)]
mod tests;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;

/// All endpoints below `/admin/v1`, with their OpenAPI description. Mount them behind
/// [`operator_auth`](tenantry_http::operator_auth), or each answers 401.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
{
    admin::router()
}
