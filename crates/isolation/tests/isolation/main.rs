//! Tenants cannot see, change or disturb each other: one test binary, one module per kind of attack or fault.
#![expect(clippy::disallowed_methods, reason = "proofs of access begin behind authentication")]
#![expect(clippy::unwrap_used, reason = "what helps a test fails as a test does")]

mod analytics;
mod auditor;
mod cancelled;
mod child;
mod controls;
mod corpus;
mod events;
mod faults;
mod fleet;
mod gateway;
mod identification;
mod interleavings;
mod operations;
mod privileges;
mod provisioning;
mod residue;
mod revocation;
mod scenarios;
mod schedules;
