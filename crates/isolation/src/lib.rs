//! The isolation suite. The proofs are in `tests/isolation`, one file per kind of attack or fault; here is what they share.
//!
//! A check is a function that returns the [`Leak`]s it found. The tests assert that there are none; the negative
//! controls call the same functions with a defence switched off, and assert that there are some.
#![expect(clippy::disallowed_methods, reason = "checks of access begin behind authentication")]

pub mod checks;
mod documented;
mod leak;
pub mod privileges;
pub mod residue;
mod scene;
pub mod server;
pub mod service;
mod snapshot;
pub mod stream;
pub mod tokens;

pub use leak::{Leak, assert_leak, assert_none};
pub use scene::{Bytes, Heard, Party, Scene, connect, simple};
pub use snapshot::{Snapshot, differences};

pub mod backends;
pub mod marks;
pub mod polls;
pub mod proxy;
pub mod through;
