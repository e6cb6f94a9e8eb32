//! Tenants cannot see, change or disturb each other: one test binary, one module per kind of attack or fault.

mod analytics;
mod controls;
mod corpus;
mod privileges;
mod residue;
mod scenarios;
