//! Tenants cannot see, change or disturb each other: one test binary, one module per kind of attack or fault.

mod cancelled;
mod child;
mod faults;
mod interleavings;
mod provisioning;
mod revocation;
mod scenarios;
