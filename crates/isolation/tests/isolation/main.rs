//! Tenants cannot see, change or disturb each other: one test binary, one module per kind of attack or fault.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod identification;
mod operations;
mod scenarios;
