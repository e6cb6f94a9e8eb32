//! All SQL of the metering: what a tenant reads as itself takes a `TenantTx`, what the pipeline does takes a `MeterTx`.

pub mod book;
pub mod budgets;
pub mod calls;
pub mod leases;
pub mod notices;
pub mod overrides;
pub mod prices;
