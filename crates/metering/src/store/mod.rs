//! All SQL of the metering: what a tenant reads as itself takes a `TenantTx`, what the pipeline does takes a `MeterTx`.

mod book;
pub mod calls;

use tenantry_postgres::Statement;

pub use book::{book, missing_months};

/// Every statement that a tenant's transaction runs, for the test that prepares each against the migrated schema.
#[must_use]
pub fn tenant_statements() -> Vec<&'static Statement> {
    [calls::STATEMENTS].concat()
}
