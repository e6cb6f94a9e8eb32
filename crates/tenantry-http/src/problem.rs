//! Problem documents (RFC 9457) that also carry the members of the approved design.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::codes::ErrorCode;

/// Where the reference of the codes lives; a problem's `type` is this and its code.
pub const TYPE_BASE: &str = "https://tenantry.dev/errors/";

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const STANDARD_MEMBERS: [&str; 9] =
    ["type", "title", "status", "detail", "code", "error", "message", "request_id", "instance"];

/// An error as a caller reads it. What the operator reads is logged where the problem is made.
///
/// ```
/// use tenantry_http::{Problem, codes};
/// let problem = Problem::of(&codes::TENANT_INACTIVE).detail("tenant `acme` is suspended").with("tenantSlug", "acme");
/// assert_eq!(problem.status(), 403);
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Option<Cow<'static, str>>,
    members: Option<Box<Map<String, Value>>>,
    retry_after_seconds: Option<u32>,
}

/// The JSON of a [`Problem`], also for OpenAPI documents.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Address of the code's page in the reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same sentence on every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The stable name of the error.
    pub code: String,
    /// Same as `title`.
    pub error: String,
    /// Same as `detail`, or as `title` where there is none.
    pub message: String,
    /// Finds the request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What the particular error adds, such as `tenantSlug`, `errors` or `current`.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// A problem with a status, a stable code and a title. Prefer [`Problem::of`] with a declared [`ErrorCode`].
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, detail: None, members: None, retry_after_seconds: None }
    }

    /// A problem of the table.
    #[must_use]
    pub fn of(code: &ErrorCode) -> Self {
        let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code: code.code, title: code.title, detail: None, members: None, retry_after_seconds: None }
    }

    /// Says what happened this time: lower case, no full stop, values in backticks.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a member. The standard members cannot be replaced this way; a value that cannot be JSON is left out.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value)
            && !STANDARD_MEMBERS.contains(&key)
        {
            self.members.get_or_insert_default().insert(key.to_owned(), value);
        }
        self
    }

    /// Adds an entry to `errors`: a JSON pointer (RFC 6901) into the body and what is wrong there.
    #[must_use]
    pub fn pointer(self, pointer: &str, detail: &str) -> Self {
        self.push_error("pointer", pointer, detail)
    }

    /// Adds an entry to `errors`: the name of a query or path parameter and what is wrong with it.
    #[must_use]
    pub fn parameter(self, name: &str, detail: &str) -> Self {
        self.push_error("parameter", name, detail)
    }

    /// Moves all places that `errors` points to below a place: what was said of a part is said of the whole.
    #[must_use]
    pub fn below(mut self, place: &str) -> Self {
        let errors = self.members.as_deref_mut().and_then(|members| members.get_mut("errors"));
        for error in errors.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::String(pointer)) = error.get_mut("pointer") {
                pointer.insert_str(0, place);
            }
        }
        self
    }

    /// Asks the caller to come back later (`Retry-After`, whole seconds, at least one).
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_seconds = Some(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1));
        self
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    fn push_error(mut self, place: &str, value: &str, detail: &str) -> Self {
        let errors = self.members.get_or_insert_default().entry("errors").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = errors {
            list.push(serde_json::json!({ place: value, "detail": detail }));
        }
        self
    }

    /// The body, for a request known by its id and path.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>, instance: Option<&str>) -> ProblemBody {
        let detail = self.detail.as_deref();
        ProblemBody {
            kind: format!("{TYPE_BASE}{}", self.code),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: detail.map(str::to_owned),
            code: self.code.to_owned(),
            error: self.title.to_owned(),
            message: detail.unwrap_or(self.title).to_owned(),
            request_id: request_id.map(str::to_owned),
            instance: instance.map(str::to_owned),
            extensions: self.members.as_deref().cloned().unwrap_or_default(),
        }
    }

    /// The response's body bytes. Cannot fail: all keys are strings and all values are JSON already.
    pub(crate) fn bytes(&self, request_id: Option<&str>, instance: Option<&str>) -> Vec<u8> {
        serde_json::to_vec(&self.body(request_id, instance)).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    /// Renders the problem and leaves it in the response's extensions, where the outer layers find it:
    /// [`harden`](crate::harden) completes the body with the request's id and path.
    fn into_response(self) -> Response {
        let mut response = Response::new(self.bytes(None, None).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, challenge(self.code));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The challenge of RFC 6750 section 3: with an error only where a credential was sent.
fn challenge(code: &str) -> HeaderValue {
    if code == crate::codes::INVALID_CREDENTIAL.code {
        HeaderValue::from_static(r#"Bearer realm="tenantry", error="invalid_token""#)
    } else {
        HeaderValue::from_static(r#"Bearer realm="tenantry""#)
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    #[test]
    fn the_body_has_the_standard_and_the_reviews_members() {
        let problem = Problem::of(&codes::TENANT_INACTIVE)
            .detail("tenant `acme` is suspended")
            .with("tenantSlug", "acme")
            .with("status", 200);
        let body: Value = serde_json::from_slice(&problem.bytes(Some("r-1"), Some("/v1/agents"))).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "https://tenantry.dev/errors/tenant_inactive",
                "title": "Invalid or inactive tenant",
                "status": 403,
                "detail": "tenant `acme` is suspended",
                "code": "tenant_inactive",
                "error": "Invalid or inactive tenant",
                "message": "tenant `acme` is suspended",
                "request_id": "r-1",
                "instance": "/v1/agents",
                "tenantSlug": "acme",
            })
        );
    }

    #[test]
    fn errors_are_collected() {
        let problem = Problem::of(&codes::INVALID_BODY).pointer("/title", "too long").pointer("/priority", "unknown");
        let body: Value = serde_json::from_slice(&problem.bytes(None, None)).unwrap();
        assert_eq!(
            body["errors"],
            serde_json::json!([
                { "pointer": "/title", "detail": "too long" },
                { "pointer": "/priority", "detail": "unknown" },
            ])
        );
        assert_eq!(body["message"], "Invalid body");
    }

    #[test]
    fn places_move_with_the_part_that_they_are_in() {
        let problem = Problem::of(&codes::INVALID_BODY).pointer("/title", "x").pointer("", "y").parameter("q", "z");
        let errors = problem.below("/items/3").body(None, None).extensions.remove("errors").unwrap();
        assert_eq!((&errors[0]["pointer"], &errors[1]["pointer"]), (&"/items/3/title".into(), &"/items/3".into()));
        assert_eq!(errors[2], serde_json::json!({ "parameter": "q", "detail": "z" }));
        assert!(Problem::of(&codes::INVALID_BODY).below("/x").body(None, None).extensions.is_empty());
    }

    #[test]
    fn a_401_challenges_and_a_503_says_when_to_come_back() {
        let missing = Problem::of(&codes::CREDENTIAL_REQUIRED).into_response();
        assert_eq!(missing.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="tenantry""#);
        let invalid = Problem::of(&codes::INVALID_CREDENTIAL).into_response();
        assert!(invalid.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
        let busy = Problem::of(&codes::POOL_EXHAUSTED).retry_after(Duration::from_millis(200)).into_response();
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
        assert_eq!(busy.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
