//! Pages of other origins that call the API from a browser.
//!
//! A browser first asks whether it may send the request at all (a preflight, which carries no credential and so names no
//! tenant), then sends it, and shows the answer to the page only if the answer names the page's origin. Our credentials are
//! headers that a page must hold, never cookies that a browser adds by itself. So the preflight may be answered without
//! asking the registry for strangers, and what counts is the answer: it names an origin only if that is the tenant's own.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tenantry_postgres::Tenant;

use crate::codes;
use crate::config::HttpConfig;
use crate::host::HostClaim;
use crate::problem::Problem;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-api-key, x-request-id, x-tenant-slug",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, idempotency-replayed, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, x-request-id",
);
/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The answer to a preflight, if the request is one.
pub(crate) fn preflight(parts: &Parts, config: &HttpConfig) -> Option<Response> {
    let is_one = parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let origin = parts.headers.get(header::ORIGIN).filter(|_| is_one)?;
    let known = origin.to_str().is_ok_and(|origin| configured(origin, config) || secure_host(origin).is_some());
    if !known {
        let detail = "pages of this origin may not call the API; the tenant's own domains over https may";
        return Some(Problem::of(&codes::ORIGIN_REFUSED).detail(detail).into_response());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.append(header::VARY, HeaderValue::from_static("origin, access-control-request-method"));
    Some(response)
}

/// Lets a page of the tenant's own origin read the answer, and no other.
pub(crate) fn expose(origin: &HeaderValue, tenant: &Tenant, config: &HttpConfig, answer: &mut HeaderMap) {
    answer.append(header::VARY, HeaderValue::from_static("origin"));
    if origin.to_str().is_ok_and(|text| configured(text, config) || is_own(text, tenant, config)) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn configured(origin: &str, config: &HttpConfig) -> bool {
    config.cors_origins.iter().any(|known| known == origin)
}

fn is_own(origin: &str, tenant: &Tenant, config: &HttpConfig) -> bool {
    let Some(host) = secure_host(origin) else { return false };
    match config.base_domains.claim(host) {
        HostClaim::Tenant(slug) => slug == tenant.slug,
        HostClaim::Platform => false,
        HostClaim::Foreign => tenant.allowed_domains.iter().any(|domain| domain == host),
    }
}

/// The host of an origin that a browser reached over https at the usual port: the one spelling that browsers use.
fn secure_host(origin: &str) -> Option<&str> {
    let host = origin.strip_prefix("https://")?;
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    (host.contains('.') && host.len() <= 253 && host.bytes().all(fine)).then_some(host)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn status(method: &str, origin: Option<&str>, asks: bool) -> Option<u16> {
        let config = HttpConfig { cors_origins: vec!["http://localhost:5173".to_owned()], ..HttpConfig::default() };
        let mut request = Request::builder().method(method).uri("/v1/agents");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        if asks {
            request = request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        preflight(&parts, &config).map(|response| response.status().as_u16())
    }

    #[test]
    fn only_a_preflight_is_answered() {
        assert_eq!(status("OPTIONS", Some("https://crm.acme.example"), true), Some(204));
        assert_eq!(status("OPTIONS", Some("http://localhost:5173"), true), Some(204));
        assert_eq!(status("OPTIONS", Some("https://crm.acme.example"), false), None);
        assert_eq!(status("OPTIONS", None, true), None);
        assert_eq!(status("POST", Some("https://crm.acme.example"), true), None);
    }

    #[test]
    fn an_origin_that_no_browser_spells_so_is_refused() {
        for bad in [
            "null",
            "http://crm.acme.example",
            "https://crm.acme.example:8443",
            "https://CRM.acme.example",
            "https://user@acme.example",
            "https://acme.example/",
            "https://",
            "https://localhost",
            "http://localhost:5174",
        ] {
            assert_eq!(status("OPTIONS", Some(bad), true), Some(403), "{bad}");
        }
    }
}
