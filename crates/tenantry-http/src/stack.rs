//! What every request passes, whoever it is from: id, limits, safety net, headers and log.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http_body_util::Limited;
use tracing::Instrument as _;

use crate::access_log::AccessLog;
use crate::codes;
use crate::config::HttpConfig;
use crate::cors;
use crate::dialect::Dialect;
use crate::problem::Problem;
use crate::request::{RequestInfo, X_REQUEST_ID};

/// Puts the common layer around all routes, and problems in the place of the plain 404 and 405.
///
/// * The request gets an id (the caller's `X-Request-Id` if acceptable), which is in the response, in every log line
///   below and in problem bodies.
/// * Bodies above the limit end in 413, requests above the time limit in 504, panics in 500 without details.
/// * A browser that asks whether a page may call the API is answered here, for no route takes `OPTIONS`.
/// * Responses get `X-Content-Type-Options: nosniff`, and `Cache-Control: no-store` unless the handler chose another.
/// * One event of target `tenantry::access` is logged per request.
///
/// Call it last, on the complete router: it is one layer for all of this, because every layer costs each request.
pub fn harden(router: Router, config: &HttpConfig) -> Router {
    harden_with(router, config, &[])
}

/// As [`harden`], with paths on which another API is spoken: they have body limits of their own, no time limit, errors in their API's shape, and
/// keep an `X-Request-Id` that the answer has already.
pub fn harden_with(router: Router, config: &HttpConfig, dialects: &[Dialect]) -> Router {
    let rules = Rules { config: config.clone(), dialects: dialects.to_vec() };
    router
        .fallback(|| async { Problem::of(&codes::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { Problem::of(&codes::METHOD_NOT_ALLOWED) })
        .layer(from_fn_with_state(Arc::new(rules), guard))
}

struct Rules {
    config: HttpConfig,
    dialects: Vec<Dialect>,
}

async fn guard(State(rules): State<Arc<Rules>>, request: Request, next: Next) -> Response {
    let config = &rules.config;
    let (mut parts, body) = request.into_parts();
    let dialect = rules.dialects.iter().find(|dialect| parts.uri.path().starts_with(dialect.prefix));
    let body_limit = dialect.map_or(config.body_limit, |dialect| dialect.body_limit);
    let info = RequestInfo::of(&mut parts, &config.trusted_proxies);
    let mut log = AccessLog {
        info: info.clone(),
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        started: Instant::now(),
        quiet: config.quiet_paths.iter().any(|path| path == parts.uri.path()),
        status: None,
        code: None,
    };
    let span = tracing::info_span!(
        target: "tenantry::request", "request", request_id = info.id().as_str(), tenant = tracing::field::Empty
    );
    let refused = has_host(&parts).err();
    let mut response = match (refused, cors::preflight(&parts, config), limit(&parts.headers, body, body_limit)) {
        (Some(problem), ..) | (None, None, Err(problem)) => problem.into_response(),
        (None, Some(answer), _) => answer,
        (None, None, Ok(body)) => {
            let mut request = Request::from_parts(parts, body);
            DefaultBodyLimit::max(body_limit).apply(&mut request);
            let work = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone());
            let worked = match dialect {
                Some(_) => Ok(work.await),
                None => tokio::time::timeout(config.request_timeout, work).await,
            };
            match worked {
                Ok(Ok(response)) => response,
                Ok(Err(panic)) => span.in_scope(|| after_panic(panic.as_ref())),
                Err(_) => Problem::of(&codes::REQUEST_TIMEOUT)
                    .detail(format!("no answer within {} ms", config.request_timeout.as_millis()))
                    .into_response(),
            }
        }
    };
    complete(&mut response, &mut log, dialect);
    response
}

/// A request of HTTP/1.1 that came over a connection says which host it is for (RFC 9112 section 3.2).
fn has_host(parts: &Parts) -> Result<(), Problem> {
    let over_a_connection = parts.extensions.get::<ConnectInfo<SocketAddr>>().is_some();
    let wanted = over_a_connection && parts.version == Version::HTTP_11;
    if wanted && parts.uri.authority().is_none() && !parts.headers.contains_key(header::HOST) {
        return Err(Problem::of(&codes::INVALID_HOST).detail("a request of HTTP/1.1 has a `Host` header"));
    }
    Ok(())
}

/// Refuses a body that announces too much, and bounds one that announces nothing. An announced length is kept by
/// the connection itself, so that most bodies are not wrapped.
fn limit(headers: &HeaderMap, body: Body, limit: usize) -> Result<Body, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > u64::try_from(limit).unwrap_or(u64::MAX) => {
            Err(Problem::of(&codes::BODY_TOO_LARGE).detail(format!("the body may have at most `{limit}` bytes")))
        }
        Some(_) => Ok(body),
        None if body.is_end_stream() => Ok(body),
        None => Ok(Body::new(Limited::new(body, limit))),
    }
}

fn after_panic(panic: &(dyn std::any::Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(target: "tenantry::http", panic = text.unwrap_or("(no message)"), "a handler panicked");
    Problem::of(&codes::INTERNAL_ERROR).into_response()
}

/// Finishes the response and tells the log about it.
fn complete(response: &mut Response, log: &mut AccessLog, dialect: Option<&Dialect>) {
    log.status = Some(response.status());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log.code = Some(problem.code());
        if log.method != Method::HEAD {
            let (id, path) = (log.info.id().as_str(), log.uri.path());
            let body = match dialect {
                Some(dialect) => (dialect.error)(path, &problem.body(Some(id), Some(path)), response.headers_mut()),
                None => problem.bytes(Some(id), Some(path)),
            };
            *response.body_mut() = body.into();
            // the length of the incomplete body, set by an inner router
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
    }
    let headers = response.headers_mut();
    // An answer that came from another API is found there by the id that it has.
    let named = dialect.is_some() && headers.contains_key(X_REQUEST_ID);
    if let (false, Ok(id)) = (named, HeaderValue::from_str(log.info.id().as_str())) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
