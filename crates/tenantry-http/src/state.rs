//! What the layers and handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use tenantry_core::Clock;
use tenantry_postgres::{Registry, TenantDb};

use crate::config::HttpConfig;
use crate::counters::SecurityCounters;
use crate::jwt::{JwtConfigError, JwtVerifier};
use crate::rate::RateLimits;
use crate::rate_shared::RedisUrlError;

/// The state of a tenant-aware router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TenancyState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    db: TenantDb,
    config: HttpConfig,
    tokens: Option<JwtVerifier>,
    counters: SecurityCounters,
    rates: RateLimits,
}

/// Why the parts do not make a server.
#[derive(Debug, thiserror::Error)]
pub enum TenancyError {
    /// The settings of tokens.
    #[error("the settings of tokens cannot be used: {0}")]
    Jwt(#[from] JwtConfigError),
    /// The address of the shared rate limits.
    #[error(transparent)]
    Redis(#[from] RedisUrlError),
}

impl TenancyState {
    /// Puts the parts together and loads the token keys in files. The clock decides what time it is for tokens.
    pub fn new(
        registry: Registry,
        db: TenantDb,
        config: HttpConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TenancyError> {
        let rates = RateLimits::new(&config.rate_limit, Arc::clone(&clock))?;
        let tokens = config.jwt.clone().map(|jwt| JwtVerifier::new(jwt, clock)).transpose()?;
        let counters = SecurityCounters::default();
        Ok(Self { inner: Arc::new(Inner { registry, db, config, tokens, counters, rates }) })
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The way to tenants' data.
    #[must_use]
    pub fn db(&self) -> &TenantDb {
        &self.inner.db
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &HttpConfig {
        &self.inner.config
    }

    /// The counters of refusals.
    #[must_use]
    pub fn counters(&self) -> &SecurityCounters {
        &self.inner.counters
    }

    /// The rate limits.
    #[must_use]
    pub fn rates(&self) -> &RateLimits {
        &self.inner.rates
    }

    pub(crate) fn tokens(&self) -> Option<&JwtVerifier> {
        self.inner.tokens.as_ref()
    }
}

impl FromRef<TenancyState> for TenantDb {
    fn from_ref(state: &TenancyState) -> Self {
        state.inner.db.clone()
    }
}

impl FromRef<TenancyState> for Registry {
    fn from_ref(state: &TenancyState) -> Self {
        state.inner.registry.clone()
    }
}
