//! The server: the tenancy crates and the agent domain put together behind one router.

mod api;
mod jobs;
pub mod lint;
mod quotas;
mod server;
mod settings;
mod state;

pub use api::{error_reference, least_role, openapi, router};
pub use quotas::QuotaWatch;
pub use server::{Server, StartError};
pub use settings::{DEFAULT_FILE, LogFormat, LogSettings, QuotaSettings, Settings, SettingsError};
pub use state::{AppParts, AppState};
pub use tenantry_control::Stripe;

/// A request makes a hundred small allocations on whichever thread it runs, which the C library's allocator serves slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
