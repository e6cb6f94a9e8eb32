//! One module per kind of record.

mod access;
mod activity;
mod agents;
mod bulk;
mod messages;
mod schedules;
mod sessions;
mod settings;
mod tasks;

pub use access::{Keys, MemberFilter, Members};
pub use activity::Activities;
pub use agents::Agents;
pub use bulk::BulkItem;
pub use messages::{Messages, ThreadList, ThreadMessages, Threads};
pub use schedules::Schedules;
pub use sessions::Sessions;
pub use settings::SettingsOf;
pub use tasks::{Dependencies, DependencyList, Tasks};
