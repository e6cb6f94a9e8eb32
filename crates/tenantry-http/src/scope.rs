//! Scope as a type: what a handler takes to show that it was let in.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tenantry_postgres::{Operator, TenantContext};

use crate::codes;
use crate::problem::Problem;

/// The verified context of the request's tenant, left by [`tenant_context`](crate::tenant_context).
///
/// On a route without that layer the extractor answers 401. Nothing but the registry makes a context, so a handler that
/// holds one was reached with a credential of that tenant:
///
/// ```compile_fail,E0451
/// use std::sync::Arc;
/// use tenantry_http::TenantScope;
/// use tenantry_postgres::{Principal, Tenant, TenantContext};
/// fn forge(tenant: Arc<Tenant>, principal: Arc<Principal>) -> TenantScope {
///     TenantScope(TenantContext { tenant, principal, request: None })
/// }
/// ```
///
/// An operator's scope is none:
///
/// ```compile_fail,E0308
/// use tenantry_http::{OperatorScope, TenantScope};
/// fn overreach(OperatorScope(operator): OperatorScope) -> TenantScope {
///     TenantScope(operator)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct TenantScope(pub TenantContext);

impl<S: Sync> FromRequestParts<S> for TenantScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::of(&codes::TENANT_CONTEXT_REQUIRED))
    }
}

/// The operator that calls, left by [`operator_auth`](crate::operator_auth); 401 on a route without that layer.
///
/// ```compile_fail,E0624
/// let forged = tenantry_http::OperatorScope(tenantry_postgres::Operator::new(Default::default(), String::new()));
/// ```
#[derive(Debug, Clone)]
pub struct OperatorScope(pub Operator);

impl<S: Sync> FromRequestParts<S> for OperatorScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::of(&codes::OPERATOR_CREDENTIAL_REQUIRED))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn without_the_layer_there_is_no_scope() {
        let (mut parts, ()) = Request::get("/").body(()).unwrap().into_parts();
        let problem = TenantScope::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!(problem.status(), 401);
        assert_eq!(problem.body(None, None).error, "Tenant context required");
        let problem = OperatorScope::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (401, "operator_credential_required"));
    }
}
