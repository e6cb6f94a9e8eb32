//! Migrations: numbered SQL files that bring registry, analytics and every tenant's schema to their latest state.
//!
//! * [`MigrationSet`] is where they come from, [`Fleet`] runs them: registry and analytics first, then every tenant, canaries before
//!   all others and the rest in waves.
//! * What was done to whom stands in `public.migration_ledger`, written in the transaction that did it.

mod drift;
mod error;
mod event;
mod fleet;
mod history;
mod keeper;
mod options;
mod plan;
mod preview;
mod run;
pub(crate) mod shared;
mod source;
mod step;
mod tally;
mod tenant;

pub use drift::{
    Change, Difference, Drift, DriftProgress, DriftReport, OtherVersion, Repair, TenantDrift, repair_script,
};
pub use error::MigrateError;
pub use event::{Event, Events, Failure, Outcome, Report};
pub use fleet::Fleet;
pub use history::{HistoryFilter, LedgerRow, OpenFailure, RunRow, SharedStatus, Status, VersionCount};
pub use options::{Options, Share, Stop, Window};
pub use preview::{DryRun, DryStep, Lock, Preview, PreviewStep, PreviewWave, Rewrite};
pub use source::{Migration, MigrationSet, Scope, SourceError};
