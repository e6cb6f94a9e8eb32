//! Endpoints of tenants. Handlers parse, call the store and map; one per file, and the file's path is the URL's.

mod v1;

/// The answers of the analytics.
pub use v1::analytics;

use axum::extract::FromRef;
use tenantry_postgres::TenantDb;
use utoipa_axum::router::OpenApiRouter;

use crate::Metering;

/// All of them. They need a tenant context: mount them behind the tenancy layer.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    v1::router()
}
