use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use metering::Metering;
use metering::gateway::Gateway;
use tenantry_control::Stripe;
use tenantry_http::TenancyState;
use tenantry_postgres::{Provisioner, Registry, TenantDb};
use tenantry_secrets::Secrets;
use workforce::{Keychain, Scheduling};

/// What the endpoints share. Cheap to clone: every request does so, more than once.
#[derive(Debug, Clone)]
pub struct AppState {
    parts: Arc<AppParts>,
}

/// What an [`AppState`] is made of.
#[derive(Debug)]
pub struct AppParts {
    /// Registry, access and settings.
    pub tenancy: TenancyState,
    /// Changes of the fleet, for the control plane.
    pub provisioner: Provisioner,
    /// What is needed to believe a webhook of Stripe.
    pub stripe: Stripe,
    /// Tenants' secrets, accounts and credentials.
    pub keychain: Keychain,
    /// The clock of schedules, and how often they may be due.
    pub scheduling: Scheduling,
    /// Prices, budgets and the spool.
    pub metering: Metering,
    /// Where calls of official clients pass through.
    pub gateway: Gateway,
}

impl From<AppParts> for AppState {
    fn from(parts: AppParts) -> Self {
        Self { parts: Arc::new(parts) }
    }
}

impl Deref for AppState {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.parts
    }
}

impl FromRef<AppState> for TenancyState {
    fn from_ref(state: &AppState) -> Self {
        state.tenancy.clone()
    }
}

impl FromRef<AppState> for Registry {
    fn from_ref(state: &AppState) -> Self {
        state.tenancy.registry().clone()
    }
}

impl FromRef<AppState> for TenantDb {
    fn from_ref(state: &AppState) -> Self {
        state.tenancy.db().clone()
    }
}

impl FromRef<AppState> for Stripe {
    fn from_ref(state: &AppState) -> Self {
        state.stripe.clone()
    }
}

impl FromRef<AppState> for Provisioner {
    fn from_ref(state: &AppState) -> Self {
        state.provisioner.clone()
    }
}

impl FromRef<AppState> for Secrets {
    fn from_ref(state: &AppState) -> Self {
        state.keychain.secrets.clone()
    }
}

impl FromRef<AppState> for Keychain {
    fn from_ref(state: &AppState) -> Self {
        state.keychain.clone()
    }
}

impl FromRef<AppState> for Scheduling {
    fn from_ref(state: &AppState) -> Self {
        state.scheduling.clone()
    }
}

impl FromRef<AppState> for Gateway {
    fn from_ref(state: &AppState) -> Self {
        state.gateway.clone()
    }
}

impl FromRef<AppState> for Metering {
    fn from_ref(state: &AppState) -> Self {
        state.metering.clone()
    }
}
