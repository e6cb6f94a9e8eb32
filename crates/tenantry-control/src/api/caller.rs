use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use tenantry_http::{Idempotency, OperatorScope, Problem, RequestInfo, replayed};
use tenantry_postgres::{Actor, OnceRequest, Provisioner};

/// The operator that calls, as the audit trail names it: with the request's id and the client's address. A change takes it,
/// so no handler can forget to say who asked; without [`operator_auth`](tenantry_http::operator_auth) it is 401.
#[derive(Debug, Clone)]
pub struct Caller(pub Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OperatorScope(operator) = OperatorScope::from_request_parts(parts, state).await?;
        let Ok(info) = RequestInfo::from_request_parts(parts, state).await;
        Ok(Self(Actor::operator(&operator, info.id().as_str(), info.client().ip)))
    }
}

/// The `Idempotency-Key` of the operator's request, if it has one. One operator's key never meets another's.
#[derive(Debug, Clone)]
pub struct Repeatable(Option<OnceRequest>);

impl Repeatable {
    /// A provisioner whose next change is made once.
    #[must_use]
    pub fn on(&self, provisioner: &Provisioner) -> Provisioner {
        provisioner.once(self.0.clone())
    }

    /// Says of an answer that it was given before, where it was.
    pub fn answer(&self, response: Response) -> Response {
        replayed(self.0.as_ref(), response)
    }
}

impl<S: Sync> FromRequestParts<S> for Repeatable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OperatorScope(operator) = OperatorScope::from_request_parts(parts, state).await?;
        let Ok(idempotency) = Idempotency::from_request_parts(parts, state).await;
        Ok(Self(idempotency.in_registry(format!("operator/{}", operator.id()))))
    }
}
