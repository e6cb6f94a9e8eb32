//! One module per kind of record.

mod access;
mod accounts;
mod activity;
mod agents;
mod analytics;
mod budgets;
mod bulk;
mod credentials;
mod messages;
mod prices;
mod provider_calls;
mod schedules;
mod sessions;
mod settings;
mod statements;
mod tasks;

pub use access::{Keys, MemberFilter, Members};
pub use accounts::ProviderAccounts;
pub use activity::Activities;
pub use agents::Agents;
pub use analytics::{Analytics, CallsOf};
pub use budgets::{BudgetFilter, Budgets};
pub use bulk::BulkItem;
pub use credentials::{CredentialList, Credentials};
pub use messages::{Messages, ThreadList, ThreadMessages, Threads};
pub use prices::{PriceOverrideList, Prices};
pub use provider_calls::{ProviderCallList, ProviderCalls};
pub use schedules::Schedules;
pub use sessions::Sessions;
pub use settings::SettingsOf;
pub use statements::Statements;
pub use tasks::{Dependencies, DependencyList, Tasks};
