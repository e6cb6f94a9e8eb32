//! Endpoints of tenants. Handlers parse, call the store and map; one per file, and the file's path is the URL's.

pub(crate) mod v1;

use std::time::Duration;

/// The answers of the analytics.
pub use v1::analytics;

use axum::extract::FromRef;
use tenantry_http::Problem;
use tenantry_postgres::{Registry, TenantDb};
use utoipa_axum::router::OpenApiRouter;
use workforce::Keychain;

use crate::Metering;
use crate::codes::{METERING_BACKLOG_FULL, METERING_UNAVAILABLE};
use crate::spool::SpoolError;

/// All of them. They need a tenant context: mount them behind the tenancy layer.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Registry: FromRef<S>,
    Keychain: FromRef<S>,
    Metering: FromRef<S>,
{
    v1::router()
}

/// Why a call was not taken. Nothing of it was kept, so the same request may be sent again.
fn not_taken(error: SpoolError) -> Problem {
    match error {
        SpoolError::Full => Problem::of(&METERING_BACKLOG_FULL)
            .detail("the server holds as many calls as it may until the database takes them")
            .retry_after(Duration::from_secs(5)),
        SpoolError::Io(error) => {
            tracing::error!(target: "tenantry::metering", %error, "calls cannot be written to the spool");
            Problem::of(&METERING_UNAVAILABLE)
                .detail("the server cannot keep calls at the moment")
                .retry_after(Duration::from_secs(5))
        }
    }
}
