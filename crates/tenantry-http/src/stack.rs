//! What every request passes, whoever it is from: id, limits, safety net, headers and log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http_body_util::Limited;
use tracing::Instrument as _;

use crate::access_log::AccessLog;
use crate::codes;
use crate::config::HttpConfig;
use crate::cors;
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
    router
        .fallback(|| async { Problem::of(&codes::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { Problem::of(&codes::METHOD_NOT_ALLOWED) })
        .layer(from_fn_with_state(Arc::new(config.clone()), guard))
}

async fn guard(State(config): State<Arc<HttpConfig>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
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
    let mut response = match (cors::preflight(&parts, &config), limit(&parts.headers, body, config.body_limit)) {
        (Some(answer), _) => answer,
        (None, Err(problem)) => problem.into_response(),
        (None, Ok(body)) => {
            let mut request = Request::from_parts(parts, body);
            DefaultBodyLimit::max(config.body_limit).apply(&mut request);
            let work = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone());
            match tokio::time::timeout(config.request_timeout, work).await {
                Ok(Ok(response)) => response,
                Ok(Err(panic)) => span.in_scope(|| after_panic(panic.as_ref())),
                Err(_) => Problem::of(&codes::REQUEST_TIMEOUT)
                    .detail(format!("no answer within {} ms", config.request_timeout.as_millis()))
                    .into_response(),
            }
        }
    };
    complete(&mut response, &mut log);
    response
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
fn complete(response: &mut Response, log: &mut AccessLog) {
    log.status = Some(response.status());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log.code = Some(problem.code());
        if log.method != Method::HEAD {
            let body = problem.bytes(Some(log.info.id().as_str()), Some(log.uri.path()));
            *response.body_mut() = body.into();
            // the length of the incomplete body, set by an inner router
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(log.info.id().as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
