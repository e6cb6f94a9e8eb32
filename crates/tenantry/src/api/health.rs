use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// A living process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The program's version.
    version: &'static str,
}

/// Whether the process is alive. Says nothing about the database: see `/ready`.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "probes",
    security(()),
    responses((status = 200, description = "alive", body = Health)),
)]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}
