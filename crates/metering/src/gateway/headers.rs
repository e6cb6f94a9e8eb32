//! Which headers go through, in either direction.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::api::Api;

/// Of a connection (RFC 9110, section 7.6.1); together with those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a provider does not get: what is set anew, what is the tenant's with us, and what proxies in front of us say.
const NOT_SENT: [&str; 13] = [
    "host",
    "content-length",
    "accept-encoding",
    "expect",
    "authorization",
    "x-api-key",
    "api-key",
    "cookie",
    "forwarded",
    "via",
    "x-real-ip",
    "traceparent",
    "tracestate",
];

/// What a client does not get: what is set anew, and what would speak for our host in the provider's name.
const NOT_ANSWERED: [&str; 4] = ["content-length", "set-cookie", "alt-svc", "strict-transport-security"];

/// How a tenant's key begins, wherever it stands.
const TENANTS_KEY: &[u8] = b"tnk_";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");

/// The headers that a provider gets, with the account's credential.
pub(super) fn to_provider(from: &HeaderMap, api: Api, provider: &str, credential: &Credential) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(from.len() + 2);
    for (name, value) in from {
        let text = name.as_str();
        let ours = text.starts_with("x-tenant") || text.starts_with("x-forwarded-") || text.starts_with("cf-");
        if ours || is_of_connection(from, text) || NOT_SENT.contains(&text) || holds_key(value.as_bytes()) {
            continue;
        }
        to.append(name, value.clone());
    }
    to.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    match (api, provider) {
        (Api::Anthropic, _) if !credential.is_token => to.insert(API_KEY, credential.plain.clone()),
        (Api::OpenAi, "azure_openai") => to.insert(AZURE_KEY, credential.plain.clone()),
        _ => to.insert(header::AUTHORIZATION, credential.bearer.clone()),
    };
    to
}

/// The headers that a client gets.
pub(super) fn to_client(from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(from.len() + 8);
    for (name, value) in from {
        let text = name.as_str();
        let ours = text.starts_with("x-tenant") || text.starts_with("access-control-");
        if !ours && !is_of_connection(from, text) && !NOT_ANSWERED.contains(&text) {
            to.append(name, value.clone());
        }
    }
    to
}

fn is_of_connection(headers: &HeaderMap, name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
        || headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|names| names.split(',').any(|named| named.trim().eq_ignore_ascii_case(name)))
}

/// Whether a tenant's key stands in it.
pub(super) fn holds_key(text: &[u8]) -> bool {
    text.windows(TENANTS_KEY.len()).any(|window| window.eq_ignore_ascii_case(TENANTS_KEY))
}

/// An account's secret as it stands in headers.
#[derive(Clone)]
pub(super) struct Credential {
    plain: HeaderValue,
    bearer: HeaderValue,
    /// Anthropic's OAuth tokens are no keys.
    is_token: bool,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// `None` when it fits into no header.
    pub(super) fn of(secret: &str) -> Option<Self> {
        let sensitive = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Some(Self {
            plain: sensitive(secret)?,
            bearer: sensitive(&format!("Bearer {secret}"))?,
            is_token: secret.starts_with("sk-ant-oat"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_provider_gets_the_accounts_credential_and_nothing_of_ours() {
        let from = headers(&[
            ("host", "gw"),
            ("authorization", "Bearer tnk_abc_def"),
            ("x-api-key", "tnk_abc_def"),
            ("api-key", "x"),
            ("x-other", "look: tnk_abc_def"),
            ("cookie", "a=b"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("x-tenant-slug", "acme"),
            ("x-tenantry-agent", "1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("accept-encoding", "gzip, br"),
            ("content-length", "12"),
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("openai-organization", "org"),
            ("idempotency-key", "k"),
            ("x-stainless-retry-count", "1"),
        ]);
        let credential = Credential::of("sk-secret").unwrap();
        let to = to_provider(&from, Api::OpenAi, "openai", &credential);
        let kept = [
            "accept-encoding",
            "anthropic-beta",
            "anthropic-beta",
            "anthropic-version",
            "authorization",
            "content-type",
            "idempotency-key",
            "openai-organization",
            "x-stainless-retry-count",
        ];
        assert_eq!(names(&to), kept);
        assert_eq!(
            (to["accept-encoding"].as_bytes(), to["authorization"].as_bytes()),
            (&b"identity"[..], &b"Bearer sk-secret"[..])
        );
        assert!(to["authorization"].is_sensitive());
        let to = to_provider(&from, Api::Anthropic, "anthropic", &credential);
        assert_eq!((to["x-api-key"].as_bytes(), to.get("authorization")), (&b"sk-secret"[..], None));
        let to = to_provider(&from, Api::OpenAi, "azure_openai", &credential);
        assert_eq!((to["api-key"].as_bytes(), to.get("authorization")), (&b"sk-secret"[..], None));
        let token = Credential::of("sk-ant-oat01-x").unwrap();
        let to = to_provider(&from, Api::Anthropic, "anthropic", &token);
        assert_eq!((to["authorization"].as_bytes(), to.get("x-api-key")), (&b"Bearer sk-ant-oat01-x"[..], None));
        assert!(Credential::of("a\nb").is_none());
    }

    #[test]
    fn a_client_gets_what_the_provider_said_but_nothing_for_our_host() {
        let from = headers(&[
            ("content-type", "text/event-stream"),
            ("x-request-id", "req_1"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("retry-after", "3"),
            ("set-cookie", "__cf=1"),
            ("alt-svc", "h3"),
            ("strict-transport-security", "max-age=1"),
            ("access-control-allow-origin", "*"),
            ("x-tenantry-cost-usd", "0"),
            ("transfer-encoding", "chunked"),
            ("content-length", "9"),
        ]);
        let kept = ["content-type", "retry-after", "x-ratelimit-remaining-tokens", "x-request-id"];
        assert_eq!(names(&to_client(&from)), kept);
    }
}
