//! The control plane over its real router, on a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, also in its helpers")]

mod access;
mod audit;
mod keys;
mod life;
mod operators;
mod plane;
mod refusals;
mod usage;
