//! What the layers and handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use tenantry_core::Clock;
use tenantry_postgres::{Registry, TenantDb};

use crate::config::HttpConfig;
use crate::counters::SecurityCounters;
use crate::jwt::{JwtConfigError, JwtVerifier};

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
}

impl TenancyState {
    /// Puts the parts together and loads the token keys in files. The clock decides what time it is for tokens.
    pub fn new(
        registry: Registry,
        db: TenantDb,
        config: HttpConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JwtConfigError> {
        let tokens = config.jwt.clone().map(|jwt| JwtVerifier::new(jwt, clock)).transpose()?;
        let counters = SecurityCounters::default();
        Ok(Self { inner: Arc::new(Inner { registry, db, config, tokens, counters }) })
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
