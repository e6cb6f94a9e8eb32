use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use tenantry_http::ProblemBody;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// No whole answer came: no connection, a lost one, or too late. What the request should change may be changed.
    #[error("no answer to {method} `{path}`: {}", chain(source))]
    Transport {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not what this version of the client expects.
    #[error("the answer to {method} `{path}` is not understood: {source}")]
    Answer {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// What should be sent cannot be.
    #[error("the body cannot be sent: {0}")]
    Body(#[source] serde_json::Error),
    /// The client was built of something unusable.
    #[error("{0}")]
    Setup(String),
    /// A stream did not begin, or go on, in time.
    #[error("the stream did not begin or go on within {0:?}")]
    Silence(Duration),
    /// The server ended the stream of events: the code of the refusal that a new request would meet.
    #[error("the stream of events was ended by the server: `{0}`")]
    Ended(String),
}

/// A refusal, as the server's problem document has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The stable code, such as `version_conflict`. An answer that is no problem document, as of a proxy, has `http_` and its status.
    pub code: String,
    /// The same sentence on every occurrence of the code.
    pub title: String,
    /// What happened this time.
    pub detail: Option<String>,
    /// The members and parameters at fault.
    pub errors: Vec<FieldError>,
    /// Finds the request in the server's log.
    pub request_id: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What else the code brings, such as `current`, the record as it is now.
    pub extensions: Map<String, Value>,
}

/// What is wrong with one member of the body or one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) into the body.
    #[serde(default)]
    pub pointer: Option<String>,
    /// The name of a parameter of the query, the path or the headers.
    #[serde(default)]
    pub parameter: Option<String>,
    /// What is wrong there.
    pub detail: String,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`: {}", self.status, self.code, self.detail.as_deref().unwrap_or(&self.title))
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    pub(crate) fn read(status: u16, retry_after: Option<Duration>, request_id: Option<String>, body: &[u8]) -> Self {
        match serde_json::from_slice::<ProblemBody>(body) {
            Ok(problem) => {
                let errors = problem.extensions.get("errors").cloned().unwrap_or_default();
                Self {
                    status,
                    code: problem.code,
                    title: problem.title,
                    detail: problem.detail,
                    errors: serde_json::from_value(errors).unwrap_or_default(),
                    request_id: problem.request_id.or(request_id),
                    retry_after,
                    extensions: problem.extensions,
                }
            }
            Err(_) => Self {
                status,
                code: format!("http_{status}"),
                title: format!("the answer has the status {status} and is no problem document"),
                detail: None,
                errors: Vec::new(),
                request_id,
                retry_after,
                extensions: Map::new(),
            },
        }
    }

    /// The record as it is now, where the refusal brings it (`version_conflict` and others).
    #[must_use]
    pub fn current<T: for<'de> Deserialize<'de>>(&self) -> Option<T> {
        T::deserialize(self.extensions.get("current")?).ok()
    }
}

impl Error {
    /// The refusal, where the server gave one.
    #[must_use]
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// The code of the refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.api().map(|error| error.code.as_str())
    }
}

/// What `reqwest` says of itself is of little use without what is behind it.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_document_is_read_in_full() {
        let body = json!({
            "type": "https://tenantry.dev/errors/validation_failed", "title": "the body breaks a rule", "status": 422,
            "code": "validation_failed", "error": "", "message": "", "request_id": "r1",
            "errors": [{ "pointer": "/name", "detail": "must not be empty" }, { "parameter": "limit", "detail": "x" }],
            "current": 7,
        });
        let error = ApiError::read(422, Some(Duration::from_secs(3)), None, body.to_string().as_bytes());
        assert_eq!((error.code.as_str(), error.request_id.as_deref()), ("validation_failed", Some("r1")));
        assert_eq!(error.errors[0].pointer.as_deref(), Some("/name"));
        assert_eq!(error.errors[1].parameter.as_deref(), Some("limit"));
        assert_eq!(error.current::<u8>(), Some(7));
        assert_eq!(error.to_string(), "422 `validation_failed`: the body breaks a rule");
    }

    #[test]
    fn what_a_proxy_says_is_an_error_as_well() {
        let error = ApiError::read(502, None, Some("r2".into()), b"<html>bad gateway</html>");
        assert_eq!((error.status, error.code.as_str(), error.request_id.as_deref()), (502, "http_502", Some("r2")));
    }
}
