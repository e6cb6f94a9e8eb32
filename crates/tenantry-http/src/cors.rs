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
const HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-api-key, x-request-id, x-tenant-slug";
/// How headers begin that official clients of providers send, and ours for whom a call is. They name too many to list, and new ones with
/// each version; none of them is a credential of ours.
const PREFIXES: [&str; 4] = ["anthropic-", "openai-", "x-stainless-", "x-tenantry-"];
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "content-disposition, etag, idempotency-replayed, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, request-id, \
     retry-after, x-data-as-of, x-pending-hours, x-request-id, x-should-retry, x-tenantry-call-id, x-tenantry-cost-usd",
);
const VARY: &str = "origin, access-control-request-method, access-control-request-headers";
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
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(parts));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.append(header::VARY, HeaderValue::from_static(VARY));
    Some(response)
}

/// Those that every page may send, and of those that this one asks for what [`PREFIXES`] allow.
fn allowed_headers(parts: &Parts) -> HeaderValue {
    let asked = parts.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = asked.filter_map(|value| value.to_str().ok()).flat_map(|names| names.split(',')).map(str::trim);
    let name = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let known = |text: &&str| PREFIXES.iter().any(|prefix| text.len() > prefix.len() && text.starts_with(prefix));
    let more: String = names.filter(name).filter(known).flat_map(|name| [", ", name]).collect();
    HeaderValue::try_from(format!("{HEADERS}{more}")).unwrap_or(HeaderValue::from_static(HEADERS))
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
    fn headers_of_official_clients_are_allowed_and_strangers_are_not() {
        let asked =
            "anthropic-version, x-stainless-os,x-tenantry-agent, x-tenant-slug, cookie, x-stainless-, x-stainless-a;b";
        let request = Request::builder().header(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-evil").body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        assert_eq!(allowed_headers(&parts), HEADERS);
        parts.headers.append(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_str("openai-beta").unwrap());
        assert_eq!(allowed_headers(&parts), format!("{HEADERS}, openai-beta"));
        parts.headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(asked));
        let more = "anthropic-version, x-stainless-os, x-tenantry-agent";
        assert_eq!(allowed_headers(&parts), format!("{HEADERS}, {more}"));
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
