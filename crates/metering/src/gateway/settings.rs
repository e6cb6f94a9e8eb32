use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where OpenAI's API is, unless the settings say otherwise.
const OPENAI: &str = "https://api.openai.com/v1";
/// Where Anthropic's is.
const ANTHROPIC: &str = "https://api.anthropic.com/v1";

/// How calls of official clients are passed on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Where providers' APIs are, up to and with their version, by the provider of the account. A provider that is not here is asked where the account
    /// says (`account_meta.base_url`). Default: none but `openai` and `anthropic`, at their public addresses.
    pub upstreams: BTreeMap<String, String>,
    /// Whether `upstreams` may be plain HTTP, for a proxy of one's own on the same machine. Default: no.
    pub allow_http: bool,
    /// The largest request in bytes. Default: 32 MiB.
    pub body_limit: usize,
    /// How long a request's body may take to arrive. Default: 60 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub body_timeout: Duration,
    /// The largest answer that is no stream, in bytes. Default: 128 MiB.
    pub answer_limit: usize,
    /// How long a connection to a provider may take. Default: 5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub connect_timeout: Duration,
    /// How long a provider may take until its answer begins. Default: 600 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub first_byte_timeout: Duration,
    /// How long an answer that has begun may pause, and how long a client may take nothing of it. Default: 120 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub idle_timeout: Duration,
    /// Calls at the same time on this server; more end in 503 `gateway_busy`. Default: 4,096.
    pub max_calls: usize,
    /// Answers that are read on at the same time for what they cost, though their clients have gone. Default: 256.
    pub max_drains: usize,
    /// How long one is read on. Default: 60 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub drain_timeout: Duration,
    /// How often a call is repeated that has cost nothing: its connection failed, or the provider was busy (429, 503, 529). The header
    /// `X-Tenantry-Retry` says otherwise for one call. Default: 0.
    pub retries: u8,
    /// Whether tenants share what is kept of accounts and of agents, which they must not: for a negative control.
    #[cfg(feature = "negative-controls")]
    #[serde(skip)]
    pub one_for_all: bool,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            upstreams: BTreeMap::new(),
            allow_http: false,
            body_limit: 32 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            answer_limit: 128 * 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            max_calls: 4096,
            max_drains: 256,
            drain_timeout: Duration::from_secs(60),
            retries: 0,
            #[cfg(feature = "negative-controls")]
            one_for_all: false,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An address.
    #[error("`metering.gateway.upstreams.{provider}` is `{url}`: {reason}")]
    Upstream {
        /// Whose.
        provider: String,
        /// As it stands there.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The client that asks providers.
    #[error("requests to providers: {0}")]
    Client(String),
}

/// The addresses by provider, checked.
pub(super) fn upstreams(settings: &GatewaySettings) -> Result<BTreeMap<String, String>, GatewayError> {
    let mut all =
        BTreeMap::from([("openai".to_owned(), OPENAI.to_owned()), ("anthropic".to_owned(), ANTHROPIC.to_owned())]);
    for (provider, url) in &settings.upstreams {
        let wrong = |reason| GatewayError::Upstream { provider: provider.clone(), url: url.clone(), reason };
        let parsed = reqwest::Url::parse(url).map_err(|_| wrong("it is no URL"))?;
        match parsed.scheme() {
            "https" => {}
            "http" if settings.allow_http => {}
            "http" => return Err(wrong("it is not HTTPS, and `allow_http` is off")),
            _ => return Err(wrong("it is not HTTPS")),
        }
        let plain = parsed.query().is_none() && parsed.fragment().is_none() && parsed.username().is_empty();
        if !plain || parsed.password().is_some() || parsed.cannot_be_a_base() {
            return Err(wrong("it has more than a host and a path"));
        }
        all.insert(provider.clone(), parsed.as_str().trim_end_matches('/').to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str, allow_http: bool) -> Result<BTreeMap<String, String>, GatewayError> {
        let named = BTreeMap::from([("openai".to_owned(), url.to_owned())]);
        upstreams(&GatewaySettings { upstreams: named, allow_http, ..GatewaySettings::default() })
    }

    #[test]
    fn addresses_are_https_unless_it_was_allowed() {
        let all = with("https://eu.example.com/v1/", false).unwrap();
        assert_eq!((all["openai"].as_str(), all["anthropic"].as_str()), ("https://eu.example.com/v1", ANTHROPIC));
        assert_eq!(with("http://127.0.0.1:9000/v1", true).unwrap()["openai"], "http://127.0.0.1:9000/v1");
        for bad in ["http://127.0.0.1/v1", "ftp://x/v1", "v1", "https://a:b@x/v1", "https://x/v1?a=b", "https://x/#"] {
            assert!(with(bad, false).is_err(), "{bad}");
        }
    }
}
