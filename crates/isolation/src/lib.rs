//! The isolation suite. The proofs are in `tests/isolation`, one file per kind of attack or fault; here is what they share.

pub mod server;
