//! The server: the tenancy crates and the agent domain put together behind one router.

mod api;
pub mod lint;
mod server;
mod settings;
mod state;

pub use api::{error_reference, openapi, router};
pub use server::{Server, StartError};
pub use settings::{DEFAULT_FILE, LogFormat, LogSettings, Settings, SettingsError};
pub use state::AppState;
pub use tenantry_control::Stripe;
