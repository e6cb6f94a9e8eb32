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
//! | one more credential after many invalid ones from its address | 429 | `too_many_failed_credentials` |
//! | a good credential, too often | 429 | `rate_limited` |
//! | a good credential, a write, and no storage left | 402 | `storage_frozen` |

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
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
use crate::rate::{TooMany, too_many_failures};
use crate::request::{RequestInfo, Who};
use crate::scope::{OperatorScope, TenantScope};
use crate::state::TenancyState;

/// Middleware that lets a request through only with a verified [`TenantContext`], which handlers take as [`TenantScope`].
///
/// Use it with [`axum::middleware::from_fn_with_state`], or through [`TenantRouter`](crate::TenantRouter), which cannot forget it.
pub async fn tenant_context(State(tenancy): State<TenancyState>, request: Request, next: Next) -> Response {
    enter(&tenancy, request, next, Manner::Ours).await
}

/// As [`tenant_context`], for requests that go on to another API; see [`protect_passage`](crate::TenantRouter::protect_passage).
pub(crate) async fn tenant_passage(State(tenancy): State<TenancyState>, request: Request, next: Next) -> Response {
    enter(&tenancy, request, next, Manner::Passage).await
}

/// Whose rules the body of a request follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It changes what we keep.
    Ours,
    /// It goes on to another API.
    Passage,
}

async fn enter(tenancy: &TenancyState, request: Request, next: Next, manner: Manner) -> Response {
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&mut parts, &tenancy.config().trusted_proxies);
    let context = match admit(tenancy, &parts, &info).await {
        Ok(context) => context,
        Err(problem) => return refuse(tenancy, &info, problem),
    };
    tracing::Span::current().record("tenant", context.slug().as_str());
    info.runs_for(Who::Tenant(context.clone()));
    tenancy.registry().record_entry(&context, parts.method.as_str(), parts.uri.path());
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let (mut response, rate) = match tenancy.rates().take(&context).await {
        Ok(rate) => {
            if let Some(rate) = rate {
                info.has_rate(rate);
            }
            let response = match pass(tenancy, &context, parts, body, manner).await {
                Ok(request) => next.run(request).await,
                Err(problem) => problem.into_response(),
            };
            (response, rate)
        }
        Err(TooMany { state, problem }) => {
            tenancy.counters().count_rate_limited();
            (problem.into_response(), Some(state))
        }
    };
    if let Some(rate) = rate {
        rate.write(response.headers_mut());
    }
    if let Some(origin) = origin {
        cors::expose(&origin, context.tenant(), tenancy.config(), response.headers_mut());
    }
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        count_refused_statement(tenancy, &info, context.principal(), &response);
    }
    response
}

/// The request as the handlers get it: with its context, and with the key under which it is done once.
async fn pass(
    tenancy: &TenancyState,
    context: &TenantContext,
    mut parts: Parts,
    body: Body,
    manner: Manner,
) -> Result<Request, Problem> {
    if manner == Manner::Passage {
        parts.extensions.insert(TenantScope(context.clone()));
        return Ok(Request::from_parts(parts, body));
    }
    if context.tenant().storage_frozen && adds(&parts) {
        tenancy.counters().count_frozen_write();
        return Err(Problem::of(&codes::STORAGE_FROZEN)
            .detail(
                "the storage of the plan is used up: reading, deleting and revoking go on, nothing is added or changed",
            )
            .with("limit_name", "storage_limit_gb")
            .with("limit", context.tenant().limits.storage_limit_gb));
    }
    parts.extensions.insert(TenantScope(context.clone()));
    parts.extensions.insert(tenancy.clone());
    let body = idempotency(tenancy, &mut parts, body).await?;
    Ok(Request::from_parts(parts, body))
}

/// Whether a request may make the tenant's data larger. One that revokes takes away, and must not wait for storage: it may be for a
/// secret that somebody else has.
fn adds(parts: &Parts) -> bool {
    let writes = [Method::POST, Method::PATCH, Method::PUT].contains(&parts.method);
    // the path as the route is written: nothing that a caller puts into it counts
    let revokes = parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str().ends_with("/revoke"));
    writes && !revokes
}

/// Middleware that lets operators through, by their own tokens (`top_…`). Handlers take [`OperatorScope`].
pub async fn operator_auth(State(tenancy): State<TenancyState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::of(&mut parts, &tenancy.config().trusted_proxies);
    let operator = match admit_operator(&tenancy, &parts, &info).await {
        Ok(operator) => operator,
        Err(problem) => return refuse(&tenancy, &info, problem),
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
    not_guessing(tenancy, &credential, info)?;
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

async fn admit_operator(tenancy: &TenancyState, parts: &Parts, info: &RequestInfo) -> Result<Operator, Problem> {
    let credential = Credential::from_headers(&parts.headers)?;
    if let Some(credential) = &credential {
        not_guessing(tenancy, credential, info)?;
    }
    match credential {
        None => Err(Problem::of(&codes::OPERATOR_CREDENTIAL_REQUIRED)
            .detail("send an operator token in `Authorization: Bearer`")),
        Some(Credential::Operator(token)) => Ok(tenancy.registry().authenticate_operator(&token).await?),
        Some(Credential::Key(_) | Credential::Token(_)) => {
            Err(invalid("the control plane takes operator tokens (`top_…`) only"))
        }
    }
}

/// Refuses, and counts what failed against the address it came from: one that goes on gets no more answers about credentials.
fn refuse(tenancy: &TenancyState, info: &RequestInfo, problem: Problem) -> Response {
    if problem.status() == StatusCode::UNAUTHORIZED {
        tenancy.counters().count_unauthorized();
    }
    if problem.code() == codes::INVALID_CREDENTIAL.code
        && let Some(wait) = tenancy.rates().failed(info.client().ip)
    {
        tenancy.counters().count_guess_refused();
        return too_many_failures(wait).into_response();
    }
    problem.into_response()
}

/// An address whose credentials failed too often is not told whether further ones are good. Keys that this server knows already are
/// excepted: their owners may share the address with whoever guesses, and a key is not guessed by its known part. So are signed
/// tokens, which cannot be guessed.
fn not_guessing(tenancy: &TenancyState, credential: &Credential<'_>, info: &RequestInfo) -> Result<(), Problem> {
    let Some(wait) = tenancy.rates().guessing(info.client().ip) else { return Ok(()) };
    match credential {
        Credential::Token(_) => return Ok(()),
        Credential::Key(key) | Credential::Operator(key) if tenancy.registry().remembers(key) => return Ok(()),
        Credential::Key(_) | Credential::Operator(_) => {}
    }
    tenancy.counters().count_guess_refused();
    Err(too_many_failures(wait))
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
