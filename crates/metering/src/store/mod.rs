//! All SQL of the metering: what a tenant reads as itself takes a `TenantTx`, what the pipeline does takes a `MeterTx`.

pub mod analytics;
pub mod audit;
pub mod bills;
mod book;
pub mod budgets;
pub mod calls;
pub mod leases;
pub mod notices;
pub mod outcomes;
pub mod overrides;
pub mod prices;
mod purged;
mod reader;
pub mod replay;
pub mod reports;
pub mod reports_calls;
pub mod rollup;
pub mod statements;
pub mod verify;

pub use book::{Booked, book, book_batch, missing_months};
pub(crate) use purged::purged;
pub use reader::Reader;

/// Reads one column by name. A macro, because the conversion needs the database's error on the way.
macro_rules! column {
    ($row:expr, $name:literal) => {
        $row.try_get($name).map_err(::tenantry_postgres::DbError::from)?
    };
}
pub(crate) use column;
