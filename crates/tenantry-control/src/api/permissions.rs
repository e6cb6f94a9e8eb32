//! What each operation of the control plane needs, in one table, and the layer that asks for it.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tenantry_core::OperatorRole;
use tenantry_http::{OperatorScope, Problem, codes};

use OperatorRole::{Admin, Support, Viewer};

/// An operation and the least role that may do it.
#[derive(Debug)]
pub struct Rule {
    /// Its method.
    pub method: Method,
    /// Its path below `/admin/v1`, as the route is written.
    pub path: &'static str,
    /// The least role.
    pub role: OperatorRole,
}

/// A row of a table of rules.
#[must_use]
pub const fn rule(method: Method, path: &'static str, role: OperatorRole) -> Rule {
    Rule { method, path, role }
}

/// Every operation of this crate. One that is in no table is refused to everybody.
pub const RULES: &[Rule] = &[
    rule(Method::GET, "/tenants", Viewer),
    rule(Method::POST, "/tenants", Admin),
    rule(Method::GET, "/tenants/{slug}", Viewer),
    rule(Method::PATCH, "/tenants/{slug}", Admin),
    rule(Method::DELETE, "/tenants/{slug}", Admin),
    rule(Method::POST, "/tenants/{slug}/suspend", Support),
    rule(Method::POST, "/tenants/{slug}/resume", Support),
    rule(Method::POST, "/tenants/{slug}/restore", Admin),
    rule(Method::POST, "/tenants/{slug}/purge", Admin),
    rule(Method::GET, "/tenants/{slug}/billing", Viewer),
    rule(Method::GET, "/tenants/{slug}/usage", Viewer),
    rule(Method::POST, "/tenants/{slug}/reads", Support),
    rule(Method::GET, "/tenants/{slug}/keys", Viewer),
    rule(Method::POST, "/tenants/{slug}/keys", Admin),
    rule(Method::PATCH, "/tenants/{slug}/keys/{id}", Admin),
    rule(Method::DELETE, "/tenants/{slug}/keys/{id}", Admin),
    rule(Method::GET, "/plans", Viewer),
    rule(Method::POST, "/plans", Admin),
    rule(Method::GET, "/plans/{tier}", Viewer),
    rule(Method::PATCH, "/plans/{tier}", Admin),
    rule(Method::DELETE, "/plans/{tier}", Admin),
    rule(Method::GET, "/operators", Viewer),
    rule(Method::POST, "/operators", Admin),
    rule(Method::DELETE, "/operators/{id}", Admin),
    rule(Method::GET, "/audit", Viewer),
    rule(Method::GET, "/billing/events", Viewer),
];

/// The least role for an operation of a table; `path` as the route is written.
#[must_use]
pub fn least_role(rules: &[Rule], method: &Method, path: &str) -> Option<OperatorRole> {
    let below = path.strip_prefix("/admin/v1")?;
    // A HEAD is answered by the handler of GET.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    rules.iter().find(|rule| rule.method == *method && rule.path == below).map(|rule| rule.role)
}

/// Middleware that lets an operator's request through only with the role that the table asks for. It stands behind
/// [`operator_auth`](tenantry_http::operator_auth).
pub(super) async fn authorize(State(rules): State<&'static [Rule]>, request: Request, next: Next) -> Response {
    match check(rules, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(rules: &[Rule], request: &Request) -> Result<(), Problem> {
    let Some(OperatorScope(operator)) = request.extensions().get::<OperatorScope>() else {
        return Err(Problem::of(&codes::OPERATOR_CREDENTIAL_REQUIRED));
    };
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(least) = least_role(rules, request.method(), path) else {
        tracing::error!(target: "tenantry::http", method = %request.method(), path, "an operation without a rule is refused");
        return Err(Problem::of(&codes::PERMISSION_DENIED).detail("no role has this operation"));
    };
    let role = operator.role();
    if role >= least {
        return Ok(());
    }
    tracing::info!(target: "tenantry::access", operator = operator.name(), %role, path, "an operator's request is beyond the role");
    let detail = format!("this needs the role `{least}`, the token has `{role}`");
    Err(Problem::of(&codes::PERMISSION_DENIED).detail(detail).with("role", role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_one_rule_and_the_unknown_none() {
        for (at, rule) in RULES.iter().enumerate() {
            let same = |other: &&Rule| other.method == rule.method && other.path == rule.path;
            assert_eq!(RULES.iter().filter(same).count(), 1, "{at}: {} {}", rule.method, rule.path);
        }
        assert_eq!(least_role(RULES, &Method::HEAD, "/admin/v1/tenants"), Some(Viewer));
        for (method, path) in
            [(Method::PUT, "/admin/v1/tenants"), (Method::GET, "/admin/v1/none"), (Method::GET, "/v1/agents")]
        {
            assert_eq!(least_role(RULES, &method, path), None);
        }
    }
}
