use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tenantry_http::{OperatorScope, Problem, RequestInfo};
use tenantry_postgres::Actor;

/// The operator that calls, as the audit trail names it: with the request's id and the client's address. A change takes it,
/// so no handler can forget to say who asked; without [`operator_auth`](tenantry_http::operator_auth) it is 401.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OperatorScope(operator) = OperatorScope::from_request_parts(parts, state).await?;
        let Ok(info) = RequestInfo::from_request_parts(parts, state).await;
        Ok(Self(Actor::operator(&operator, info.id().as_str(), info.client().ip)))
    }
}
