//! The identity provider's published keys (JWKS, RFC 7517), cached.
//!
//! * Within the time to live, keys are used as they are.
//! * After it they are still used while a fetch runs in the background, until the maximum age: an
//!   endpoint that is down for a while locks nobody out, and a key withdrawn from the endpoint is
//!   refused at the latest then.
//! * A `kid` that is not known makes the caller wait for one fetch, shared by all who wait; fetches
//!   are a minimum interval apart, so that made-up names cannot be used to flood the provider.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::Jwk;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tenantry_core::Clock;
use tokio::sync::Mutex;

use crate::jwt::TokenError;
use crate::keys::{self, JwtAlgorithm, VerifyingKey};

/// More keys than any provider publishes; the rest of a longer list is not read.
const MAX_KEYS: usize = 64;

/// Where the provider publishes its keys, and how long they are believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwksConfig {
    /// The address: `https`, or `http` on this machine.
    pub url: String,
    /// Allows `http` to another machine, for a provider inside a protected network. Default: no.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// After this time the keys are fetched again, in the background. Default: 5 min.
    #[serde(default = "default_ttl", with = "tenantry_core::serde_seconds")]
    pub ttl: Duration,
    /// Keys older than this are not used, whatever the reason. Default: 1 h.
    #[serde(default = "default_max_age", with = "tenantry_core::serde_seconds")]
    pub max_age: Duration,
    /// The least time between two fetches. Default: 10 s.
    #[serde(default = "default_min_interval", with = "tenantry_core::serde_seconds")]
    pub min_interval: Duration,
    /// How long a fetch may take. Default: 5 s.
    #[serde(default = "default_timeout", with = "tenantry_core::serde_seconds")]
    pub timeout: Duration,
    /// The largest document read, in bytes. Default: 256 KiB.
    #[serde(default = "default_body_limit")]
    pub body_limit: usize,
}

const fn default_ttl() -> Duration {
    Duration::from_secs(300)
}
const fn default_max_age() -> Duration {
    Duration::from_secs(3600)
}
const fn default_min_interval() -> Duration {
    Duration::from_secs(10)
}
const fn default_timeout() -> Duration {
    Duration::from_secs(5)
}
const fn default_body_limit() -> usize {
    256 * 1024
}

impl JwksConfig {
    /// The defaults for an address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            allow_plain_http: false,
            ttl: default_ttl(),
            max_age: default_max_age(),
            min_interval: default_min_interval(),
            timeout: default_timeout(),
            body_limit: default_body_limit(),
        }
    }
}

/// Why a JWKS endpoint cannot be used, or a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The address is not one.
    #[error(
        "`{0}` is not a JWKS address: give an `https` URL (`http` only on this machine, or with `allow_plain_http`)"
    )]
    Url(String),
    /// The client cannot be built, or the request failed.
    #[error("the JWKS endpoint cannot be reached")]
    Http(#[from] reqwest::Error),
    /// The endpoint answered with something else than 200.
    #[error("the JWKS endpoint answered with status {0}")]
    Status(u16),
    /// The document is larger than allowed.
    #[error("the JWKS document is larger than {0} bytes")]
    TooLarge(usize),
    /// The document is not a key set.
    #[error("the JWKS document is not a key set")]
    Document(#[from] serde_json::Error),
    /// Nothing in the document can verify tokens; the keys held are kept.
    #[error("the JWKS document holds no usable key")]
    NoUsableKey,
}

/// What the last successful fetch brought.
struct Snapshot {
    keys: Vec<VerifyingKey>,
    fetched_at: Option<DateTime<Utc>>,
}

/// The cache of one endpoint.
pub(crate) struct JwksCache {
    config: JwksConfig,
    url: Url,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held while a fetch runs; the time of the last attempt, successful or not.
    last_attempt: Mutex<Option<DateTime<Utc>>>,
}

/// The document; keys are read one by one, so that one of an unknown kind does not spoil the rest.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl JwksCache {
    pub(crate) fn new(config: JwksConfig, clock: Arc<dyn Clock>) -> Result<Self, JwksError> {
        let refused = || JwksError::Url(config.url.chars().take(200).collect());
        let url = Url::parse(&config.url).map_err(|_| refused())?;
        let acceptable = match url.scheme() {
            "https" => true,
            "http" => config.allow_plain_http || is_loopback(&url),
            _ => false,
        };
        if !acceptable {
            return Err(refused());
        }
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            // a redirect could lead to a host nobody configured
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let snapshot = RwLock::new(Arc::new(Snapshot { keys: Vec::new(), fetched_at: None }));
        Ok(Self { config, url, client, clock, snapshot, last_attempt: Mutex::new(None) })
    }

    /// The key for a token's `kid` and algorithm.
    pub(crate) async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: JwtAlgorithm,
    ) -> Result<VerifyingKey, TokenError> {
        let held = self.current();
        let age = self.age(&held);
        if age.is_some_and(|age| age <= self.config.max_age)
            && let Some(key) = keys::find(&held.keys, kid, algorithm)
        {
            if age.is_some_and(|age| age > self.config.ttl) && self.last_attempt.try_lock().is_ok() {
                drop(tokio::spawn(Arc::clone(self).refresh()));
            }
            return Ok(key.clone());
        }
        // in a task of its own: whoever asked first may hang up without leaving the others behind
        let _ = tokio::spawn(Arc::clone(self).refresh()).await;
        let fresh = self.current();
        if self.age(&fresh).is_none_or(|age| age > self.config.max_age) {
            return Err(TokenError::KeysUnavailable);
        }
        keys::find(&fresh.keys, kid, algorithm).cloned().ok_or(TokenError::UnknownKey)
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn age(&self, snapshot: &Snapshot) -> Option<Duration> {
        let fetched_at = snapshot.fetched_at?;
        // a clock that was set back makes keys look new, not invalid
        Some(self.clock.now().signed_duration_since(fetched_at).to_std().unwrap_or_default())
    }

    /// Fetches, unless somebody else has just done so or tried.
    async fn refresh(self: Arc<Self>) {
        let mut last_attempt = self.last_attempt.lock().await;
        let now = self.clock.now();
        let waited = last_attempt.map(|last| now.signed_duration_since(last).to_std().unwrap_or_default());
        if waited.is_some_and(|waited| waited < self.config.min_interval) {
            return;
        }
        *last_attempt = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                tracing::debug!(target: "tenantry::jwks", keys = keys.len(), url = %self.url, "token keys fetched");
                let snapshot = Arc::new(Snapshot { keys, fetched_at: Some(now) });
                *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(target: "tenantry::jwks", error, url = %self.url, "token keys could not be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<VerifyingKey>, JwksError> {
        let mut response = self.client.get(self.url.clone()).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(JwksError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.config.body_limit {
                return Err(JwksError::TooLarge(self.config.body_limit));
            }
            body.extend_from_slice(&chunk);
        }
        let document: Document = serde_json::from_slice(&body)?;
        let keys: Vec<VerifyingKey> = document
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(|jwk| VerifyingKey::from_jwk(&jwk))
            .collect();
        if keys.is_empty() { Err(JwksError::NoUsableKey) } else { Ok(keys) }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use tenantry_core::SystemClock;

    use super::*;

    #[test]
    fn the_address_must_be_safe() {
        let accepted = |url: &str| JwksCache::new(JwksConfig::new(url), Arc::new(SystemClock)).is_ok();
        assert!(
            accepted("http://127.0.0.1:9/jwks") && accepted("http://[::1]:9/jwks") && accepted("http://localhost/")
        );
        assert!(!accepted("http://id.example.com/jwks") && !accepted("file:///etc/passwd") && !accepted("nonsense"));
        let plain = JwksConfig { allow_plain_http: true, ..JwksConfig::new("http://id.internal/jwks") };
        assert!(JwksCache::new(plain, Arc::new(SystemClock)).is_ok());
    }
}
