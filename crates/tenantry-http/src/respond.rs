//! What the endpoints share: versions in headers, and answers that carry them.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::IntoResponses;

use crate::codes;
use crate::once::etag;
use crate::problem::{Problem, ProblemBody};

/// The answers that every endpoint of a tenant may give.
#[derive(IntoResponses)]
pub enum Common {
    /// The request cannot be read: a parameter, a header, or no tenant named.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] ProblemBody),
    /// No credential, or not a valid one.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody),
    /// The tenant is unknown, inactive, or not the credential's.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody),
    /// Too many requests of the tenant or key, too many failed credentials of the address, or more running tasks than the plan
    /// allows; see `code` and `Retry-After`.
    #[response(status = 429, content_type = "application/problem+json")]
    TooManyRequests(#[to_schema] ProblemBody),
    /// A defect of the server; the log knows more under the request id.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(#[to_schema] ProblemBody),
    /// No connection free, a lock held, or the database away; see `Retry-After`.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody),
    /// The statement or the request ran past its time limit.
    #[response(status = 504, content_type = "application/problem+json")]
    TimedOut(#[to_schema] ProblemBody),
}

/// The answers of endpoints that read a body.
#[derive(IntoResponses)]
pub enum WithBody {
    /// The plan's limit of agents, of tasks this month or of storage is reached; see `code`, `limit_name`, `limit`, `used` and
    /// `resets_at`.
    #[response(status = 402, content_type = "application/problem+json")]
    LimitReached(#[to_schema] ProblemBody),
    /// The body is larger than the server accepts.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody),
    /// The body is not announced as JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(#[to_schema] ProblemBody),
}

/// A record with its `ETag`, made from its version.
pub fn versioned<T: Serialize>(status: StatusCode, version: i64, record: &T) -> Response {
    let mut response = (status, Json(record)).into_response();
    response.headers_mut().insert(header::ETAG, ascii(etag(version)));
    response
}

/// A record with its `ETag`, or 304 for a caller who has this version already (`If-None-Match`, RFC 9110 section 13.1.2).
pub fn unless_known<T: Serialize>(headers: &HeaderMap, version: i64, record: &T) -> Response {
    let tag = etag(version);
    let mut known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // compared weakly, as the header asks for; our tags hold no commas, so the list can be split at them
    let known = known.any(|tags| {
        tags.split(',').map(str::trim).any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
    });
    if !known {
        return versioned(StatusCode::OK, version, record);
    }
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    response.headers_mut().insert(header::ETAG, ascii(tag));
    response
}

/// Versions are digits and quotes, so the conversion cannot fail.
fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The version a change is based on, from `If-Match` or from the request itself, if either has one.
///
/// # Errors
/// `invalid_precondition`.
pub fn expected_version(headers: &HeaderMap, given: Option<i64>) -> Result<Option<i64>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(given) };
    let version = value.to_str().ok().and_then(parse_etag).filter(|_| values.next().is_none());
    let invalid = |detail: &'static str| Problem::of(&codes::INVALID_PRECONDITION).detail(detail);
    let version = version.ok_or_else(|| invalid("`If-Match` must be one `ETag` of this record, such as `\"3\"`"))?;
    if given.is_some_and(|given| given != version) {
        return Err(invalid("`If-Match` and `version` name different versions"));
    }
    Ok(Some(version))
}

/// As [`expected_version`], for changes that must not be made without one.
///
/// # Errors
/// `invalid_precondition`, `version_required`.
pub fn required_version(headers: &HeaderMap, given: Option<i64>) -> Result<i64, Problem> {
    expected_version(headers, given)?.ok_or_else(|| {
        Problem::of(&codes::VERSION_REQUIRED)
            .detail("send the version that the change is based on, as `version` or as `If-Match`")
    })
}

/// Strong tags only (`If-Match` compares strongly, RFC 9110 section 13.1.1), in the one spelling we give out. `*` is
/// refused: it would overwrite whatever somebody else has written.
fn parse_etag(text: &str) -> Option<i64> {
    let digits = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(if_match: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_str(if_match).unwrap())])
    }

    #[test]
    fn the_version_comes_from_either_place() {
        assert_eq!(required_version(&headers("\"7\""), None).unwrap(), 7);
        assert_eq!(required_version(&headers("\"7\""), Some(7)).unwrap(), 7);
        assert_eq!(required_version(&HeaderMap::new(), Some(3)).unwrap(), 3);
        assert!(required_version(&HeaderMap::new(), None).is_err_and(|problem| problem.code() == "version_required"));
        assert_eq!(expected_version(&HeaderMap::new(), None).unwrap(), None);
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        let status = |tags: &[&str]| {
            let mut headers = HeaderMap::new();
            for tag in tags {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
            }
            let response = unless_known(&headers, 7, &());
            assert_eq!(response.headers()[header::ETAG], "\"7\"");
            response.status().as_u16()
        };
        for known in [&["\"7\""][..], &["W/\"7\""], &["\"6\", \"7\""], &["\"6\"", "\"7\""], &["*"]] {
            assert_eq!(status(known), 304, "{known:?}");
        }
        for unknown in [&[][..], &["\"6\""], &["7"], &["\"77\""], &["\"7"], &[""], &["W/7"]] {
            assert_eq!(status(unknown), 200, "{unknown:?}");
        }
    }

    #[test]
    fn what_is_not_our_tag_is_refused() {
        let bad =
            ["*", "7", "W/\"7\"", "\"\"", "\"-7\"", "\"+7\"", "\"7\", \"8\"", "\"99999999999999999999\"", "\"", ""];
        for tag in bad {
            let answer = expected_version(&headers(tag), None);
            assert!(answer.is_err_and(|problem| problem.code() == "invalid_precondition"), "{tag}");
        }
        assert!(expected_version(&headers("\"7\""), Some(8)).is_err());
        let mut twice = headers("\"7\"");
        twice.append(header::IF_MATCH, HeaderValue::from_static("\"7\""));
        assert!(expected_version(&twice, None).is_err());
    }

    proptest! {
        #[test]
        fn every_tag_we_give_out_is_understood(version in 1_i64..) {
            let response = versioned(StatusCode::OK, version, &());
            let tag = response.headers()[header::ETAG].to_str().unwrap();
            prop_assert_eq!(expected_version(&headers(tag), None).unwrap(), Some(version));
        }
    }
}
