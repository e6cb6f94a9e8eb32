use std::sync::LazyLock;

use axum::http::header;
use axum::routing::{MethodRouter, get};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, PathItem, Ref, RefOr};

use crate::AppState;

/// The OpenAPI document of the whole server.
#[must_use]
pub fn document() -> OpenApi {
    let (_, mut tenants) = workforce::router::<AppState>().split_for_parts();
    let (_, mut operators) = tenantry_control::router::<AppState>().split_for_parts();
    let (_, mut document) = super::public().split_for_parts();
    require(&mut tenants, &[SecurityRequirement::new("api_key", NONE), SecurityRequirement::new("bearer", NONE)]);
    require(&mut operators, &[SecurityRequirement::new("operator", NONE)]);
    document.merge(tenants);
    document.merge(operators);
    refer_to_problem(&mut document);
    document.info = InfoBuilder::new()
        .title("Tenantry")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(include_str!("openapi.md")))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    let components = document.components.take().unwrap_or_default();
    document.components = Some(
        ComponentsBuilder::from(components)
            .security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))))
            .security_scheme("bearer", bearer("a tenant's API key (`tnk_…`) or a token of the identity provider"))
            .security_scheme("operator", bearer("an operator's token (`top_…`)"))
            .build(),
    );
    document
}

const NONE: [&str; 0] = [];

fn bearer(description: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build())
}

/// Says of every operation which credentials it takes.
fn require(api: &mut OpenApi, schemes: &[SecurityRequirement]) {
    for PathItem { get, put, post, delete, patch, .. } in api.paths.paths.values_mut() {
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            operation.security = Some(schemes.to_vec());
        }
    }
}

/// The answers that endpoints share bring the schema of problems along, whole, each time; a reference says the same, and
/// a generated client then has one type for it.
fn refer_to_problem(api: &mut OpenApi) {
    for PathItem { get, put, post, delete, patch, .. } in api.paths.paths.values_mut() {
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            for response in operation.responses.responses.values_mut() {
                let RefOr::T(response) = response else { continue };
                if let Some(RefOr::T(content)) = response.content.get_mut("application/problem+json") {
                    content.schema = Some(Ref::from_schema_name("Problem").into());
                }
            }
        }
    }
}

pub(super) fn route() -> MethodRouter<AppState> {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_pretty_json().unwrap_or_default());
    get(|| async {
        ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], TEXT.as_str())
    })
}
