//! Operators' reports, providers' bills and statements on a real database.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod bills;
mod closing;
mod figures;
mod ledger;
mod sql;
mod statements;
