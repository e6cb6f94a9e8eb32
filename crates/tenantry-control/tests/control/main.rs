//! The control plane over its real router, on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, also in its helpers")]

mod access;
mod audit;
mod billing;
mod keys;
mod life;
mod once;
mod operators;
mod plane;
mod plans;
mod refusals;
