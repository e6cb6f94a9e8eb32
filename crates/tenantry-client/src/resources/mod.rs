//! One module per kind of record.

mod activity;
mod agents;
mod bulk;
mod messages;
mod sessions;
mod tasks;

pub use activity::Activities;
pub use agents::Agents;
pub use bulk::BulkItem;
pub use messages::{Messages, ThreadList, ThreadMessages, Threads};
pub use sessions::Sessions;
pub use tasks::{Dependencies, DependencyList, Tasks};
