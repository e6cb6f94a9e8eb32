//! Whether the OpenAPI document knows an error that a server has given.

use std::sync::LazyLock;

use reqwest::Method;
use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(tenantry::openapi);

/// Codes of requests that reach no operation as the document has it: other routes and methods, and routes without their layers.
const ELSEWHERE: [&str; 4] = ["route_not_found", "method_not_allowed", "origin_refused", "tenant_context_required"];

/// Holds an error against the document.
///
/// # Panics
/// When the operation has no such code at the status.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, status: u16, code: &str) {
    if ELSEWHERE.contains(&code) {
        return;
    }
    let Some(operation) = operation(&DOCUMENT["paths"], method, path) else { return };
    let mut response = &operation["responses"][status.to_string()];
    if let Some(place) = response["$ref"].as_str().and_then(|place| DOCUMENT.pointer(place.strip_prefix('#')?)) {
        response = place;
    }
    let codes = response["x-error-codes"].as_array();
    assert!(
        codes.is_some_and(|codes| codes.iter().any(|known| known == code)),
        "{method} {path} answers {status} `{code}`, which the document does not list there: see `openapi/codes.rs`"
    );
}

/// The operation of a path; of two that fit the one with fewer parameters, as routes are chosen.
fn operation<'d>(paths: &'d Value, method: &Method, path: &str) -> Option<&'d Value> {
    let given: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == given.len()
            && template.iter().zip(&given).all(|(part, given)| part.starts_with('{') || part == given)
    };
    let fitting = paths.as_object()?.iter().filter(|(template, _)| fits(template));
    let (_, item) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.as_str().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_passes() {
        check(&Method::GET, "/v1/agents/0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", 404, "agent_not_found");
        check(&Method::GET, "/v1/schedules/preview", 401, "invalid_credential");
        check(&Method::GET, "/nowhere", 404, "route_not_found");
    }

    /// Negative control: an error of another operation is noticed.
    #[test]
    #[should_panic(expected = "which the document does not list there")]
    fn what_is_listed_elsewhere_is_noticed() {
        check(&Method::GET, "/v1/agents/0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", 404, "task_not_found");
    }
}
