//! What the endpoints share: the answers of all, who calls, and errors as problems.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tenantry_http::{OperatorScope, Problem, ProblemBody, RequestInfo};
use tenantry_postgres::Actor;
use utoipa::IntoResponses;

use crate::codes;
use crate::prices::{LoadError, PricesError, RepriceError};

/// The answers that every endpoint of operators may give.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; the layers and the database make them")]
pub(super) enum Common {
    /// The request cannot be read: a parameter or a header.
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
#[expect(dead_code, reason = "describes answers; the layers and the extractors make them")]
pub(super) enum WithBody {
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

/// The operator that calls, as the audit trail names it.
pub(super) struct Caller(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OperatorScope(operator) = OperatorScope::from_request_parts(parts, state).await?;
        let Ok(info) = RequestInfo::from_request_parts(parts, state).await;
        Ok(Self(Actor::operator(&operator, info.id().as_str(), info.client().ip)))
    }
}

impl From<PricesError> for Problem {
    fn from(error: PricesError) -> Self {
        match error {
            PricesError::Database(error) => error.into(),
            PricesError::Catalogue { id, flaws } => {
                tracing::error!(target: "tenantry::prices", id, %flaws, "the loaded catalogue cannot be read by this program");
                Self::of(&codes::INVALID_CATALOGUE)
                    .detail("the catalogue that is loaded is not one for this program: load another")
            }
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Invalid(flaws) => {
                let problem = Self::of(&codes::INVALID_CATALOGUE).with("flaws", &flaws.0);
                flaws.0.iter().fold(problem, |problem, flaw| problem.pointer("/catalogue", &flaw.to_string()))
            }
            LoadError::Prices(error) => error.into(),
        }
    }
}

impl From<RepriceError> for Problem {
    fn from(error: RepriceError) -> Self {
        match error {
            RepriceError::Prices(error) => error.into(),
            RepriceError::Place(error) => {
                let detail = error.to_string();
                Self::of(&codes::VALIDATION_FAILED).pointer("/after", &detail).detail(detail)
            }
        }
    }
}
