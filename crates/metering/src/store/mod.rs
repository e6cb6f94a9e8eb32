//! All SQL of the metering: what a tenant reads as itself takes a `TenantTx`, what the pipeline does takes a `MeterTx`.

pub mod analytics;
pub mod book;
pub mod calls;
pub mod outcomes;
pub mod overrides;
pub mod prices;
pub mod rollup;
pub mod verify;
