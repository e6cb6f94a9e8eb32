//! Migrations: numbered SQL files that bring registry, analytics and every tenant's schema to their latest state.

mod drift;
mod source;

pub use drift::{
    Change, Difference, Drift, DriftProgress, DriftReport, OtherVersion, Repair, TenantDrift, repair_script,
};
pub use source::{Migration, MigrationSet, Scope, SourceError};
