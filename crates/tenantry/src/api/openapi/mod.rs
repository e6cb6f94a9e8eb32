//! The OpenAPI document: what the planes say of their operations, and what is said of all alike.

mod codes;
mod examples;
mod fold;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::routing::{MethodRouter, get};
use serde_json::{Map, Value, json};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder,
};

use super::least_role;
use crate::AppState;

/// POSTs that only read, so that there is nothing to do once: no key is kept for them, and no answer.
const READS: [&str; 1] = ["/admin/v1/tenants/{slug}/reads"];

/// The OpenAPI document of the whole server.
#[must_use]
pub fn document() -> Value {
    let (mut document, mut paths, schemas) = parts();
    document["components"]["responses"] = fold::errors(&mut paths).into();
    document["components"]["schemas"] = schemas.into();
    document["paths"] = paths.into();
    document
}

/// The document without its paths and schemas, and these, with every answer in its place.
fn parts() -> (Value, Map<String, Value>, Map<String, Value>) {
    let mut document = json!(planes());
    // A document has both; maps of its own stand in for what is no object.
    let mut take = |place: &str| match document.pointer_mut(place).map(Value::take) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let (mut paths, mut schemas) = (take("/paths"), take("/components/schemas"));
    paths.extend(of_gateway());
    schemas.extend(metering::gateway::document::schemas());
    codes::name(&mut paths);
    examples::complete(&mut paths, &mut schemas);
    (document, paths, schemas)
}

/// The gateway's operations, with the credentials that they take.
fn of_gateway() -> Map<String, Value> {
    let mut paths = metering::gateway::document::paths();
    for (path, item) in &mut paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let method = method.to_uppercase().parse().unwrap_or_default();
            let needed: Vec<&str> = workforce::PERMISSIONS.of(&method, path).iter().map(|needed| needed.name).collect();
            operation["security"] = ["api_key", "bearer"].map(|scheme| json!({ scheme: needed })).to_vec().into();
        }
    }
    paths
}

/// What the planes say.
fn planes() -> OpenApi {
    let (_, mut tenants) = super::of_tenants().split_for_parts();
    let (_, mut operators) = super::of_operators().split_for_parts();
    let (_, mut document) = super::public().split_for_parts();
    let (_, webhooks) = tenantry_control::webhooks::<AppState>().split_for_parts();
    of_tenants(&mut tenants);
    limit_writes(&mut tenants);
    of_operators(&mut operators);
    document.merge(tenants);
    document.merge(operators);
    document.merge(webhooks);
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

fn bearer(description: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build())
}

fn operations(api: &mut OpenApi) -> impl Iterator<Item = (String, Method, &mut Operation)> {
    api.paths.paths.iter_mut().flat_map(|(path, item)| {
        let PathItem { get, put, post, delete, patch, .. } = item;
        let methods = [
            (Method::GET, get),
            (Method::PUT, put),
            (Method::POST, post),
            (Method::DELETE, delete),
            (Method::PATCH, patch),
        ];
        methods.into_iter().filter_map(|(method, operation)| Some((path.clone(), method, operation.as_mut()?)))
    })
}

/// Says of every operation of tenants which credentials it takes, with the permission that it needs in the place of a scope, and
/// of each that makes something that it can be repeated safely.
fn of_tenants(api: &mut OpenApi) {
    for (path, method, operation) in operations(api) {
        let needed: Vec<&str> =
            workforce::PERMISSIONS.of(&method, &path).iter().map(|permission| permission.name).collect();
        let schemes = ["api_key", "bearer"];
        operation.security = Some(schemes.map(|scheme| SecurityRequirement::new(scheme, needed.clone())).to_vec());
        for parameter in operation.parameters.iter_mut().flatten() {
            separate_by_commas(parameter);
        }
        if method == Method::POST {
            may_be_repeated(operation);
        }
    }
}

/// Describes the key of a request that may be repeated, and the answers to one that is not right.
fn may_be_repeated(operation: &mut Operation) {
    operation.parameters.get_or_insert_default().push(idempotency_key().into());
    for (status, description) in [
        ("413", "the body is larger than the server accepts"),
        ("422", "the `Idempotency-Key` came with another request before"),
    ] {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description).content("application/problem+json", content);
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
    }
}

/// Several values of one parameter of the query are one text, separated by commas.
fn separate_by_commas(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && parameter.parameter_in == ParameterIn::Query
        && matches!(parameter.schema, Some(RefOr::T(Schema::Array(_))))
    {
        parameter.style = Some(ParameterStyle::Form);
        parameter.explode = Some(false);
    }
}

fn of_operators(api: &mut OpenApi) {
    for (path, method, operation) in operations(api) {
        // The role in the place of a scope, as for tenants.
        let role: Vec<&str> = least_role(&method, &path).iter().map(|role| role.as_str()).collect();
        operation.security = Some(vec![SecurityRequirement::new("operator", role)]);
        if method == Method::POST && !READS.contains(&path.as_str()) {
            may_be_repeated(operation);
        }
    }
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "a key of the client's own, such as a UUID: the same request with the same key has one effect and gets the same \
             answer for a day",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255))))
        .build()
}

/// A tenant whose storage is used up gets 402 for everything but reading and deleting, also where no body is sent.
fn limit_writes(api: &mut OpenApi) {
    for PathItem { put, post, patch, .. } in api.paths.paths.values_mut() {
        for operation in [put, post, patch].into_iter().flatten() {
            operation.responses.responses.entry("402".to_owned()).or_insert_with(|| {
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                ResponseBuilder::new()
                    .description("The plan's storage is used up.")
                    .content("application/problem+json", content)
                    .into()
            });
        }
    }
}

/// The answers that endpoints share bring the schema of problems along, whole, each time; a reference says the same, and
/// a generated client then has one type for it.
fn refer_to_problem(api: &mut OpenApi) {
    for (_, _, operation) in operations(api) {
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            if let Some(RefOr::T(content)) = response.content.get_mut("application/problem+json") {
                content.schema = Some(Ref::from_schema_name("Problem").into());
            }
        }
    }
}

pub(super) fn route() -> MethodRouter<AppState> {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}", document()));
    get(|| async {
        ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], TEXT.as_str())
    })
}
