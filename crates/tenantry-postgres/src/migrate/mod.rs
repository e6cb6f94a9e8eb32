//! Migrations: numbered SQL files that bring registry, analytics and every tenant's schema to their latest state.

mod source;

pub use source::{Migration, MigrationSet, Scope, SourceError};
