//! What goes out into the world in a company's name: accounts at providers, with authorization by OAuth, and credentials that
//! are used for an agent without being shown to it.

pub mod codes;
pub mod egress;
mod error;
pub mod oauth;

use std::sync::Arc;

use tenantry_core::Clock;
use tenantry_postgres::DatabaseConfig;
use tenantry_secrets::Secrets;

pub use egress::{Egress, EgressConfig};
pub use error::{Broken, KeychainError};
pub use oauth::{OAuth, OAuthConfig};

/// What the endpoints of accounts and credentials share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keychain {
    /// Seals and opens.
    pub secrets: Secrets,
    /// Providers that give authorizations.
    pub oauth: OAuth,
    /// Requests to services.
    pub egress: Egress,
}

impl Keychain {
    /// From the settings.
    ///
    /// # Errors
    /// [`Broken`] when they cannot be used.
    pub fn new(
        database: &DatabaseConfig,
        secrets: Secrets,
        oauth: &OAuthConfig,
        egress: &EgressConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Broken> {
        Ok(Self { secrets, oauth: OAuth::new(database, oauth, clock)?, egress: Egress::new(egress)? })
    }
}
