//! All SQL of the metering: what a tenant reads as itself takes a `TenantTx`, what the pipeline does takes a `MeterTx`.

mod book;
pub mod calls;
pub mod overrides;
pub mod prices;

pub use book::{book, missing_months};
