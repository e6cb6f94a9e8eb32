use axum::extract::FromRef;
use tenantry_http::TenancyState;
use tenantry_postgres::{Provisioner, Registry, TenantDb};
use tenantry_secrets::Secrets;

/// What the endpoints share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Registry, access and settings.
    pub tenancy: TenancyState,
    /// Changes of the fleet, for the control plane.
    pub provisioner: Provisioner,
    /// Tenants' secrets at rest.
    pub secrets: Secrets,
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

impl FromRef<AppState> for Provisioner {
    fn from_ref(state: &AppState) -> Self {
        state.provisioner.clone()
    }
}

impl FromRef<AppState> for Secrets {
    fn from_ref(state: &AppState) -> Self {
        state.secrets.clone()
    }
}
