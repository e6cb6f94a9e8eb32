use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tenantry_http::respond::{Common, versioned};
use tenantry_http::{Problem, TenantScope};
use tenantry_postgres::Registry;

use crate::Error;
use crate::settings::Settings;

/// Reads the company's settings.
#[utoipa::path(
    get,
    path = "/v1/settings",
    operation_id = "get_settings",
    tag = "settings",
    responses(
        Common,
        (status = 200, description = "the settings", body = Settings, headers(("ETag" = String, description = "the version"))),
    ),
)]
pub(super) async fn get_settings(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
) -> Result<Response, Problem> {
    let settings = Settings::from(registry.settings(&context).await.map_err(Error::from)?);
    Ok(versioned(StatusCode::OK, settings.version, &settings))
}
