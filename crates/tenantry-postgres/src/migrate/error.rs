use super::source::{Scope, SourceError};
use crate::error::DbError;

/// Why a run of migrations did not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// `init` was never run on the database.
    #[error("the database is not prepared")]
    NotPrepared,
    /// A file was changed after it was applied.
    #[error("`{label}` of the {scope} set has another text than the one that was applied")]
    Changed {
        /// Its set.
        scope: Scope,
        /// Its number and name.
        label: String,
    },
    /// The database has steps that this program does not know.
    #[error("the {scope} set of the database is at version {database}, this program knows {program}")]
    Ahead {
        /// The set.
        scope: Scope,
        /// Of the database.
        database: i32,
        /// Of the program.
        program: i32,
    },
    /// Another run holds the lock.
    #[error("another run is at work: {0}")]
    Busy(String),
    /// The lock was lost and another run has taken it.
    #[error("the connection that held the lock of this run was lost, and {0}")]
    Fenced(String),
    /// A way back is asked for that does not exist.
    #[error("`{0}` cannot be undone: there is no `{0}.down.sql`")]
    NoDown(String),
    /// A version that the set has not.
    #[error("there is no version {asked}: the set has versions 1 to {latest}")]
    NoVersion {
        /// What was asked for.
        asked: i32,
        /// The latest.
        latest: i32,
    },
    /// No such tenant.
    #[error("tenant `{0}` does not exist")]
    UnknownTenant(String),
    /// A step of the registry's or the analytics' set failed; it has changed nothing.
    #[error("`{label}` of the {scope} set failed: {source}")]
    Shared {
        /// The set.
        scope: Scope,
        /// Its number and name.
        label: String,
        /// Why.
        source: DbError,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}
