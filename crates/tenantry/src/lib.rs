//! The server: the tenancy crates and the agent domain put together behind one router.

mod api;
mod state;

pub use api::{openapi, router};
pub use state::AppState;
