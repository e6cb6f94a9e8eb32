//! What was promised and not yet shipped, on this server's disk.

use crate::call::Call;

/// Why the spool takes nothing.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It holds as much as it may: the database has been away, or too slow, for long.
    #[error("the spool is full")]
    Full,
    /// The disk refuses.
    #[error("the spool cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// The spool of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {}

impl Spool {
    /// Has on disk, when it returns, that a call is about to be made: as the row that it becomes if it is never seen to end.
    ///
    /// # Errors
    /// [`SpoolError`]; the call must not be made then.
    pub async fn intend(&self, _unsettled: &Call) -> Result<(), SpoolError> {
        Ok(())
    }

    /// Has on disk, when it returns, how a call ended that was [intended](Self::intend). There is always room for it.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub async fn settle(&self, _call: &Call) -> Result<(), SpoolError> {
        Ok(())
    }

    /// Has calls on disk, when it returns, that were not made through us: all or none.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn record(&self, _calls: &[Call]) -> Result<(), SpoolError> {
        Ok(())
    }
}
