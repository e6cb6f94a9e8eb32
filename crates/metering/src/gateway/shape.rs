//! Our errors in the shape of the API that was called, so that its official client makes its own exceptions of them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;
use tenantry_http::ProblemBody;

use super::api::Api;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Writes a problem as the API of the path writes errors. The code is `error.code` for OpenAI, and begins the message for Anthropic, whose
/// errors have no place for it. What the problem has beside its text, such as a limit and when it resets, is `error.details`, which the
/// clients hand on unread.
pub(super) fn error(path: &str, problem: &ProblemBody, headers: &mut HeaderMap) -> Vec<u8> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The clients try again after 408, 409, 429 and 5xx. What the money is used up for is no better the second time.
    if problem.status == 402 {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    let mut body = match Api::of(path) {
        Api::OpenAi => json!({ "error": {
            "message": problem.message, "type": openai_type(problem.status), "param": null, "code": problem.code,
        } }),
        Api::Anthropic => json!({
            "type": "error",
            "error": {
                "type": anthropic_type(problem.status), "message": format!("{}: {}", problem.code, problem.message),
            },
            "request_id": problem.request_id,
        }),
    };
    if !problem.extensions.is_empty() {
        body["error"]["details"] = problem.extensions.clone().into();
    }
    // All keys are strings and all values are JSON already.
    serde_json::to_vec(&body).unwrap_or_default()
}

const fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tenantry_http::{Problem, codes};

    use super::*;

    fn shaped(path: &str, problem: &Problem) -> (Value, HeaderMap) {
        let mut headers = HeaderMap::new();
        let body = error(path, &problem.body(Some("r-1"), Some(path)), &mut headers);
        (serde_json::from_slice(&body).unwrap(), headers)
    }

    #[test]
    fn each_api_reads_its_own_errors() {
        let problem = Problem::of(&codes::RATE_LIMITED).detail("slowly");
        let (body, headers) = shaped("/llm/openai/v1/models", &problem);
        let expected =
            json!({ "message": "slowly", "type": "rate_limit_error", "param": null, "code": "rate_limited" });
        assert_eq!((&body["error"], headers.len()), (&expected, 1));
        let (body, _) = shaped("/llm/anthropic/v1/messages", &problem);
        let expected = json!({
            "type": "error", "error": { "type": "rate_limit_error", "message": "rate_limited: slowly" }, "request_id": "r-1",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_is_used_up_is_not_tried_again() {
        let problem = Problem::of(&codes::STORAGE_FROZEN);
        assert_eq!(shaped("/llm/openai/v1/embeddings", &problem).1["x-should-retry"], "false");
    }

    #[test]
    fn what_a_limit_is_can_be_read_by_programs() {
        let problem = Problem::of(&crate::codes::BUDGET_EXHAUSTED).with("limit", "1").with("used", "0.99");
        for path in ["/llm/openai/v1/chat/completions", "/llm/anthropic/v1/messages"] {
            assert_eq!(shaped(path, &problem).0["error"]["details"], json!({ "limit": "1", "used": "0.99" }));
        }
    }
}
