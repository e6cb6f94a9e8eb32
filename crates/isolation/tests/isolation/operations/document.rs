//! The operations that the OpenAPI document lists, and whom each is for.

use reqwest::Method;
use serde_json::Value;

/// Whom an operation is for, by the credentials that the document names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plane {
    /// A tenant's people.
    Tenant,
    /// A tenant's people, for another API that the gateway passes requests on to.
    Passage,
    /// Operators.
    Operator,
    /// Everybody.
    Public,
}

/// One operation of the document.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: Method,
    /// With its parameters in braces.
    pub(super) path: String,
    pub(super) plane: Plane,
    pub(super) takes_body: bool,
}

/// A parameter that names no record of anybody's.
const MONTH: &str = "month";

impl Operation {
    /// The names in braces, of those that name records.
    pub(super) fn parameters(&self) -> Vec<&str> {
        let names = self.path.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name));
        names.filter(|name| *name != MONTH).collect()
    }

    /// The path with its parameters filled in.
    pub(super) fn path_with(&self, fill: impl Fn(&str) -> String) -> String {
        let month = chrono::Utc::now().format("%Y-%m").to_string();
        let path = self.path.replace(&format!("{{{MONTH}}}"), &month);
        self.parameters().into_iter().fold(path, |path, name| path.replace(&format!("{{{name}}}"), &fill(name)))
    }
}

/// All operations of the server's document.
pub(super) fn operations() -> Vec<Operation> {
    let document = tenantry::openapi();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if !operation.is_object() || operation.get("responses").is_none() {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no operationId"));
            found.push(Operation {
                id: id.to_owned(),
                plane: plane(path, &operation["security"])
                    .unwrap_or_else(|| panic!("{id}: the document does not say which credentials it takes")),
                method,
                path: path.clone(),
                takes_body: operation.get("requestBody").is_some(),
            });
        }
    }
    found
}

fn plane(path: &str, security: &Value) -> Option<Plane> {
    let schemes: Vec<&str> =
        security.as_array()?.iter().flat_map(|scheme| scheme.as_object().unwrap().keys()).map(String::as_str).collect();
    match schemes.as_slice() {
        [] => Some(Plane::Public),
        ["operator"] => Some(Plane::Operator),
        ["api_key", "bearer"] if path.starts_with("/llm/") => Some(Plane::Passage),
        ["api_key", "bearer"] => Some(Plane::Tenant),
        _ => None,
    }
}
