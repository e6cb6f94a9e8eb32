use tenantry_postgres::DbError;

use crate::master::MasterKeyError;

/// Why a secret was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The server has no master key.
    #[error("no master key is configured, so no secret can be stored or read")]
    NotConfigured,
    /// The keeper of the master key.
    #[error(transparent)]
    Master(#[from] MasterKeyError),
    /// The value was not sealed here: another row, column or tenant, damaged, or a key that is gone.
    #[error("a sealed value of `{table}.{column}` cannot be opened: {reason}")]
    Unreadable {
        /// The table it stands in.
        table: &'static str,
        /// The column it stands in.
        column: &'static str,
        /// What is wrong with it, as far as can be told.
        reason: &'static str,
    },
    /// The value is longer than what may be sealed.
    #[error("a secret may have at most {} bytes", crate::MAX_BYTES)]
    TooLong,
    /// The table of data keys.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl SecretsError {
    /// Whether it may be well again without anybody changing a row.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::NotConfigured | Self::Master(_))
    }
}
