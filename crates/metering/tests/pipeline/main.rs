//! The way of a call from the spool to the shared tables, with everything that can go wrong on it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adoption;
mod booking;
mod child;
mod damage;
mod disk;
mod forget;
mod kill;
mod measure;
mod outage;
mod partitions;
mod purged;
mod reaping;
mod refused;
mod reuse;
mod stage;
