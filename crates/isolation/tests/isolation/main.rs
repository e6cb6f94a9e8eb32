//! Tenants cannot see, change or disturb each other: one test binary, one module per kind of attack or fault.

mod identification;
mod operations;
mod scenarios;
