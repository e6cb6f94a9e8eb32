//! The layers that let a request in: for a tenant, or for an operator.
//!
//! Identification (host, header) and credential are found first, the credential is proved next, and only then does
//! the registry compare the two and yield a [`TenantContext`]. No connection to tenants' data is taken before that, and
//! the registry is not read for a request without a credential: a foreign host counts as identification then, because
//! only the registry knows whether it is some tenant's own.
//!
//! | the request has | status | code |
//! |---|---|---|
//! | neither identification nor credential | 400 | `tenant_identifier_required` |
//! | identification only | 401 | `credential_required` |
//! | an invalid credential | 401 | `invalid_credential` |
//! | a credential of another, unknown or inactive tenant | 403 | `tenant_mismatch`, `invalid_tenant`, `tenant_inactive` |

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tenantry_postgres::{AccessError, Operator, Principal, Refusal, TenantContext};

use crate::authenticate::{Credential, Refused, invalid, prove};
use crate::codes;
use crate::cors;
use crate::identify::Naming;
use crate::once::Idempotency;
use crate::problem::Problem;
use crate::request::{RequestInfo, Who};
use crate::scope::{OperatorScope, TenantScope};
use crate::state::TenancyState;

/// Middleware that lets a request through only with a verified [`TenantContext`], which handlers take as [`TenantScope`].
///
/// Use it with [`axum::middleware::from_fn_with_state`], or through [`TenantRouter`](crate::TenantRouter), which cannot forget it.
pub async fn tenant_context(State(tenancy): State<TenancyState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&mut parts, &tenancy.config().trusted_proxies);
    let context = match admit(&tenancy, &parts, &info).await {
        Ok(context) => context,
        Err(problem) => return refuse(&tenancy, problem),
    };
    tracing::Span::current().record("tenant", context.slug().as_str());
    info.runs_for(Who::Tenant(context.clone()));
    tenancy.registry().record_entry(&context, parts.method.as_str(), parts.uri.path());
    parts.extensions.insert(TenantScope(context.clone()));
    parts.extensions.insert(tenancy.clone());
    let body = match idempotency(&tenancy, &mut parts, body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(origin) = origin {
        cors::expose(&origin, context.tenant(), tenancy.config(), response.headers_mut());
    }
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        count_refused_statement(&tenancy, &info, context.principal(), &response);
    }
    response
}

/// Middleware that lets operators through, by their own tokens (`top_…`). Handlers take [`OperatorScope`].
pub async fn operator_auth(State(tenancy): State<TenancyState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&mut parts, &tenancy.config().trusted_proxies);
    let operator = match admit_operator(&tenancy, &parts).await {
        Ok(operator) => operator,
        Err(problem) => return refuse(&tenancy, problem),
    };
    info.runs_for(Who::Operator(operator.clone()));
    parts.extensions.insert(OperatorScope(operator));
    let body = match idempotency(&tenancy, &mut parts, body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    next.run(Request::from_parts(parts, body)).await
}

/// Leaves the key of a request that may be repeated for its handler.
async fn idempotency(tenancy: &TenancyState, parts: &mut Parts, body: Body) -> Result<Body, Problem> {
    if parts.method != Method::POST {
        return Ok(body);
    }
    let (idempotency, body) = Idempotency::read(parts, body, tenancy.config().body_limit).await?;
    parts.extensions.insert(idempotency);
    Ok(body)
}

pub(crate) async fn admit(tenancy: &TenancyState, parts: &Parts, info: &RequestInfo) -> Result<TenantContext, Problem> {
    let naming = Naming::read(parts, info.client(), tenancy.config())?;
    let credential = Credential::from_headers(&parts.headers)?;
    let credential = credential.ok_or_else(|| {
        if naming.is_empty() {
            Problem::of(&codes::TENANT_IDENTIFIER_REQUIRED)
                .detail("Please provide tenant via subdomain or X-Tenant-Slug header")
        } else {
            Problem::of(&codes::CREDENTIAL_REQUIRED)
                .detail("send a credential of the tenant in `Authorization: Bearer` or `X-Api-Key`")
        }
    })?;
    let principal = match prove(credential, tenancy.registry(), tenancy.tokens()).await {
        Ok(principal) => principal,
        Err(Refused::Access(error)) => return Err(error.into()),
        Err(Refused::Problem(problem)) => return Err(problem),
    };
    let domain_known = match &naming.custom_host {
        Some(host) => tenancy.registry().domain_is_known(host).await?,
        None => false,
    };
    let identified = naming.identified(domain_known);
    match tenancy.registry().context(&principal, &identified).await {
        Ok(context) => Ok(context.for_request(info.id().as_str(), info.client().ip)),
        Err(error) => {
            if let AccessError::Mismatch { presented } = &error {
                record(tenancy, info, &principal, "access.mismatch", presented.clone());
            }
            Err(error.into())
        }
    }
}

async fn admit_operator(tenancy: &TenancyState, parts: &Parts) -> Result<Operator, Problem> {
    match Credential::from_headers(&parts.headers)? {
        None => Err(Problem::of(&codes::OPERATOR_CREDENTIAL_REQUIRED)
            .detail("send an operator token in `Authorization: Bearer`")),
        Some(Credential::Operator(token)) => Ok(tenancy.registry().authenticate_operator(&token).await?),
        Some(Credential::Key(_) | Credential::Token(_)) => {
            Err(invalid("the control plane takes operator tokens (`top_…`) only"))
        }
    }
}

fn refuse(tenancy: &TenancyState, problem: Problem) -> Response {
    if problem.status() == StatusCode::UNAUTHORIZED {
        tenancy.counters().count_unauthorized();
    }
    problem.into_response()
}

/// A statement that role or row level security refused reached for something outside the tenant.
fn count_refused_statement(tenancy: &TenancyState, info: &RequestInfo, principal: &Principal, response: &Response) {
    let refused = response.extensions().get::<Problem>().is_some_and(|p| p.code() == codes::SCOPE_REFUSED.code);
    if refused {
        record(tenancy, info, principal, "access.statement_refused", "sqlstate 42501".to_owned());
    }
}

fn record(tenancy: &TenancyState, info: &RequestInfo, by: &Principal, action: &'static str, presented: String) {
    tenancy.counters().count_cross_tenant_attempt();
    tracing::warn!(
        target: "tenantry::access", tenant_id = %by.tenant(), subject = by.subject(), presented, action, request_id = %info.id(),
        client_ip = info.client().ip.map(tracing::field::display), "cross-tenant attempt refused"
    );
    tenancy.registry().record_refusal(Refusal {
        tenant: Some(by.tenant()),
        kind: by.kind(),
        subject: by.subject().to_owned(),
        action,
        presented,
        client_ip: info.client().ip,
        request_id: info.id().as_str().to_owned(),
    });
}
