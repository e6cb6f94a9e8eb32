//! What may be spent.
//!
//! For each hard budget and period, `spent + leased <= limit` holds in the database whenever a lease is made or grows; a server admits
//! calls from its lease, in memory. So the limit is kept by any number of servers, and overrun by no more than calls cost beyond what was
//! held for them. `docs/guides/budgets.md` states the bound.

mod admit;
mod entry;
mod keeper;
pub(crate) mod lease;
mod model;
#[cfg(test)]
mod model_tests;
mod notices;
mod notifier;
mod period;
mod problem;
mod settings;
mod standing;
mod status;
pub(crate) mod tenant;
mod webhook;

pub use admit::{Budgets, Hold, NotAdmitted};
pub use model::{Budget, BudgetStatus, CreateBudget, Scope, UpdateBudget, WebhookTest};
pub use notifier::{Notifier, Tally};
pub use period::Period;
pub(crate) use period::Span;
pub use problem::BudgetError;
pub use settings::{BudgetSettings, Rule};
pub(crate) use standing::SpentOf;
pub use standing::{BudgetStanding, BudgetStandings};
pub(crate) use status::{Spent, status};
pub(crate) use webhook::{Post, Target, post};
