use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::{Common, unless_known};
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
    params(("If-None-Match" = Option<String>, Header, description = "the `ETag` of a version that is known: no need to send it again")),
    responses(
        Common,
        (status = 200, description = "the settings", body = Settings, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version is the one that `If-None-Match` names"),
    ),
)]
pub(super) async fn get_settings(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let settings = Settings::from(registry.settings(&context).await.map_err(Error::from)?);
    Ok(unless_known(&headers, settings.version, &settings))
}
