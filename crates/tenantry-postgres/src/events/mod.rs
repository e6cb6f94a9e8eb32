//! What a tenant's transactions publish, told to whoever listens, on every server.
//!
//! An event is a row of the tenant's own table `events`, written with the change by [`TenantTx::publish`](crate::TenantTx::publish).
//! That alone is the truth. Beside it goes a hint that there is something new: in the process at once, to the other
//! servers by a notification a moment later, and where both are lost by a slow look at the table. Whoever gets a hint reads
//! the table, through the tenant's own scope; no event ever passes through the hub itself.
//!
//! **Invariant.** Ids become visible in their order. A transaction takes its place in the tenant's audit chain before its events get
//! their ids, and keeps it until it has ended. So a reader that has seen an event never finds one with a smaller id later.
//!
//! No notification is sent from within a tenant's transaction: PostgreSQL lets one transaction at a time commit with one,
//! in the whole server.

mod announce;
mod config;
mod hub;
mod read;
mod sweep;

pub use config::EventsConfig;
pub use hub::{EventHub, Subscription, TooManyStreams};
pub use read::{EventBatch, EventFilter, PublishedEvent};

pub(crate) use announce::{Announcer, CHANNEL};

use crate::statement::Statement;

/// The statements on the table `events`, for tests that prepare each.
#[must_use]
pub fn event_statements() -> [&'static Statement; 2] {
    [&read::EVENTS_AFTER, &sweep::SWEEP_EVENTS]
}
