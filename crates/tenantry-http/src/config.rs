//! The settings of the HTTP layer: documented data with defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::BaseDomains;
use crate::jwt::JwtConfig;
use crate::proxy::TrustedProxies;
use crate::rate::RateLimitConfig;

/// Settings of the HTTP layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Domains directly below which every tenant has a subdomain. Default: none, so no host names a tenant by its subdomain.
    pub base_domains: BaseDomains,
    /// Networks of the proxies that may speak through `X-Forwarded-For`, `-Host` and `-Proto`. Default: none.
    pub trusted_proxies: TrustedProxies,
    /// The largest request body in bytes. Default: 1 MiB.
    pub body_limit: usize,
    /// How long a request may take until its response begins. Default: 30 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub request_timeout: Duration,
    /// How long a connection may stay open without a complete request head, idle or not. Longer than load balancers
    /// keep idle connections (60 s), so that they do not reuse one that is just being closed. Default: 75 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub header_timeout: Duration,
    /// How long running requests may go on after a shutdown was asked for. Default: 30 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub drain_timeout: Duration,
    /// Paths whose requests are logged at debug level only, such as probes. Default: `/health` and `/ready`.
    pub quiet_paths: Vec<String>,
    /// Origins whose pages may call the API for every tenant, such as `http://localhost:5173` in development. A tenant's own domains and its subdomain may,
    /// over https, without being named here. Default: none.
    pub cors_origins: Vec<String>,
    /// Acceptance of tokens from an identity provider. Default: none, only API keys are accepted.
    pub jwt: Option<JwtConfig>,
    /// How requests are counted against the limits of plans and keys.
    pub rate_limit: RateLimitConfig,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            base_domains: BaseDomains::default(),
            trusted_proxies: TrustedProxies::default(),
            body_limit: 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(30),
            quiet_paths: vec!["/health".to_owned(), "/ready".to_owned()],
            cors_origins: Vec::new(),
            jwt: None,
            rate_limit: RateLimitConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config: HttpConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config.body_limit, 1 << 20);
        assert_eq!(config.request_timeout, Duration::from_secs(30));
        assert!(config.jwt.is_none());
    }

    #[test]
    fn settings_are_read_and_unknown_ones_refused() {
        let config: HttpConfig = serde_json::from_value(serde_json::json!({
            "base_domains": ["app.example.com"], "trusted_proxies": ["10.0.0.0/8"], "request_timeout": 2.5,
        }))
        .unwrap();
        assert_eq!(config.base_domains.as_slice(), ["app.example.com"]);
        assert_eq!(config.request_timeout, Duration::from_millis(2500));
        assert!(serde_json::from_str::<HttpConfig>(r#"{"request_timout": 1}"#).is_err());
        assert!(serde_json::from_str::<HttpConfig>(r#"{"request_timeout": -1}"#).is_err());
        assert!(serde_json::from_str::<HttpConfig>(r#"{"base_domains": ["127.0.0.1"]}"#).is_err());
    }
}
