use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody, required_version, versioned};
use tenantry_http::{ApiJson, Problem, ProblemBody, TenantScope, codes};
use tenantry_postgres::{Registry, SettingsError};

use crate::settings::{Settings, UpdateSettings};
use crate::{Error, Validate as _};

/// Changes the company's settings: a merge patch. The change names the version it is based on, in `version` or in `If-Match`.
#[utoipa::path(
    patch,
    path = "/v1/settings",
    operation_id = "update_settings",
    tag = "settings",
    params(("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the change is based on")),
    request_body = UpdateSettings,
    responses(
        Common,
        WithBody,
        (status = 200, description = "the changed settings", body = Settings, headers(
            ("ETag" = String, description = "the new version"),
        )),
        (status = 409, description = "the version is not the present one; `current` holds the settings",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "the change names no version", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn update_settings(
    TenantScope(context): TenantScope,
    State(registry): State<Registry>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<UpdateSettings>,
) -> Result<Response, Problem> {
    let expected = required_version(&headers, body.version)?;
    let change = body.validated()?.change();
    match registry.change_settings(&context, expected, &change).await {
        Ok(settings) => {
            let settings = Settings::from(settings);
            Ok(versioned(StatusCode::OK, settings.version, &settings))
        }
        Err(SettingsError::Conflict(current)) => {
            let detail =
                format!("the settings have version {}, the request is based on version {expected}", current.version);
            Err(Problem::of(&codes::VERSION_CONFLICT).detail(detail).with("current", Settings::from(current)))
        }
        Err(SettingsError::Database(error)) => Err(Error::from(error).into()),
    }
}
