//! Private PostgreSQL clusters: for `tenantry dev`, for tests, and for benchmarks.
//!
//! [`Cluster`] owns one PostgreSQL server that runs as a child process: it finds the binaries (or
//! installs them), creates the data directory on the first start, recovers on every later one, and
//! stops the server when asked or dropped. [`PgBouncer`] does the same for a pooler in front of it, [`Redis`] for
//! the store in which servers share their rate limits.
//! [`Throwaway`] is a cluster in a temporary directory, tuned for tests.
//!
//! # Architecture invariants
//!
//! - A server never outlives the process that started it: a *leash* (a shell that waits for the end
//!   of a pipe) stops it when that process is killed.
//! - Whatever was killed, and when, the next start on the same directory recovers by itself.
//! - One process at a time holds a data directory; a second one is told who does.
//! - PostgreSQL never runs as root: started by root, it gets an account without privileges.

mod account;
mod binaries;
mod cluster;
mod config;
mod error;
mod initdb;
mod leash;
mod logfile;
mod pgbouncer;
mod place;
mod port;
mod process;
mod recovery;
mod redis;
mod throwaway;
mod wheel;

pub use account::Account;
pub use binaries::{Binaries, Search, Version};
pub use cluster::Cluster;
pub use config::{ClusterConfig, Progress, StopMode};
pub use error::EmbeddedError;
pub use pgbouncer::{PgBouncer, PgBouncerConfig, PoolMode};
pub use redis::Redis;
pub use throwaway::{Throwaway, ThrowawayConfig};
