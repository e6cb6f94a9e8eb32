//! What the endpoints share: the answers of all, and periods of queries.

use chrono::{DateTime, NaiveDate, Utc};
use tenantry_http::{Problem, ProblemBody, codes};
use utoipa::IntoResponses;

use crate::reports::Period;

/// The answers that every endpoint of operators may give.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; the layers and the database make them")]
pub(super) enum Common {
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
    /// No connection free, or the database away; see `Retry-After`.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody),
    /// The statement or the request ran past its time limit.
    #[response(status = 504, content_type = "application/problem+json")]
    TimedOut(#[to_schema] ProblemBody),
}

/// The days that a query asks for.
pub(super) fn period(from: Option<NaiveDate>, to: Option<NaiveDate>, now: DateTime<Utc>) -> Result<Period, Problem> {
    let sane = |day: NaiveDate| (1970..=9990).contains(&chrono::Datelike::year(&day));
    for (name, day) in [("from", from), ("to", to)] {
        if day.is_some_and(|day| !sane(day)) {
            return Err(invalid_query(name, "must be a day of the years 1970 to 9990"));
        }
    }
    Period::new(from, to, now).map_err(|detail| invalid_query("from", &detail))
}

/// A query parameter with a value that cannot be.
pub(super) fn invalid_query(parameter: &str, detail: &str) -> Problem {
    Problem::of(&codes::INVALID_QUERY).parameter(parameter, detail).detail(format!("`{parameter}`: {detail}"))
}

/// A text to compare with: nothing that a column could not hold.
pub(super) fn text(parameter: &str, given: Option<String>) -> Result<Option<String>, Problem> {
    match given {
        Some(text) if text.chars().count() > 255 || text.contains('\0') => {
            Err(invalid_query(parameter, "must have at most 255 characters and no NUL"))
        }
        given => Ok(given),
    }
}
