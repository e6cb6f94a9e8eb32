//! What the endpoints share: the answers of all, and versions in headers.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_http::{Problem, ProblemBody, codes};
use tenantry_postgres as registry;
use tenantry_postgres::TenantRow;
use utoipa::IntoResponses;

use crate::model::{Plan, Tenant};

/// The answers that every endpoint of operators may give.
#[derive(IntoResponses)]
pub enum Common {
    /// The request cannot be read: a parameter, a header or a part of the path.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] ProblemBody),
    /// No operator's token, or not a valid one. A tenant's key is none.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody),
    /// The operator's role does not reach so far.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody),
    /// Too many invalid credentials came from the caller's address; see `Retry-After`.
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
    /// The body is larger than the server accepts.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody),
    /// The body is not announced as JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(#[to_schema] ProblemBody),
    /// A member of the body is missing, unknown or invalid; `errors` points to it.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody),
}

/// The answer of endpoints below a tenant.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; the provisioner makes them")]
pub(super) enum OfTenant {
    /// No such tenant, key, plan or operator.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] ProblemBody),
}

/// A tenant with its `ETag`.
pub(super) fn tenant(row: TenantRow) -> Response {
    let tag = etag(row.updated_at);
    ([(header::ETAG, tag)], Json(Tenant::from(row))).into_response()
}

/// A plan with its `ETag`.
pub(super) fn plan(status: StatusCode, row: registry::Plan) -> Response {
    let tag = etag(row.updated_at);
    (status, [(header::ETAG, tag)], Json(Plan::from(row))).into_response()
}

/// A record just made: 201 with its address.
pub(super) fn created<T: Serialize>(location: String, record: &T) -> Response {
    // slugs and ids are letters, digits and hyphens, so the conversion cannot fail
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static(""));
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(record)).into_response()
}

/// The tag of a tenant or plan: the microsecond of its last change, which the database keeps.
pub(super) fn etag(updated_at: DateTime<Utc>) -> HeaderValue {
    // digits and quotes, so the conversion cannot fail
    HeaderValue::try_from(format!("\"{}\"", updated_at.timestamp_micros())).unwrap_or(HeaderValue::from_static(""))
}

/// The tag of a record that has a version.
pub(super) fn version_tag(version: i64) -> HeaderValue {
    // digits and quotes, so the conversion cannot fail
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static(""))
}

/// The version that a change is based on, if it names one.
pub(super) fn expected_version(headers: &HeaderMap) -> Result<Option<DateTime<Utc>>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let version = value.to_str().ok().and_then(parse_etag).filter(|_| values.next().is_none());
    version
        .map(Some)
        .ok_or_else(|| Problem::of(&codes::INVALID_PRECONDITION).detail("`If-Match` must be one `ETag` of this record"))
}

/// Strong tags only, in the one spelling we give out.
fn parse_etag(text: &str) -> Option<DateTime<Utc>> {
    let digits = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    let micros = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())??;
    DateTime::from_timestamp_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(if_match: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_str(if_match).unwrap())])
    }

    #[test]
    fn a_tag_given_out_is_understood() {
        let at = DateTime::from_timestamp_micros(1_764_049_000_123_456).unwrap();
        let tag = etag(at);
        assert_eq!(tag, "\"1764049000123456\"");
        assert_eq!(expected_version(&headers(tag.to_str().unwrap())).unwrap(), Some(at));
        assert_eq!(expected_version(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn what_is_not_our_tag_is_refused() {
        for tag in ["*", "7", "W/\"7\"", "\"\"", "\"-7\"", "\"7\", \"8\"", "\"99999999999999999999\"", ""] {
            assert_eq!(expected_version(&headers(tag)).unwrap_err().code(), "invalid_precondition", "{tag}");
        }
        let mut twice = headers("\"7\"");
        twice.append(header::IF_MATCH, HeaderValue::from_static("\"7\""));
        assert!(expected_version(&twice).is_err());
    }
}
