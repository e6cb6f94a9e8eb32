//! Going back to a place in a transaction: for work of several parts, each of which may fail by itself.
//!
//! A transaction has one savepoint at a time. It is set by the message that carries the next statement, so it costs no round
//! trip; only going back does.

use crate::error::DbError;

use super::notes::Length;
use super::tx::{ABANDONED, Phase, TenantTx};

const SET: &str = "SAVEPOINT part";
const BEGIN_AND_SET: &str = "BEGIN;SAVEPOINT part";
/// What came before is kept for good, as far as the transaction is.
const MOVE: &str = "RELEASE SAVEPOINT part;SAVEPOINT part";
const GO_BACK: &str = "ROLLBACK TO SAVEPOINT part";

/// The savepoint of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// The server has an earlier one.
    moves: bool,
    /// The server has it. Before that, no statement was sent since it was asked for.
    set: bool,
    /// What had been noted by then.
    noted: Length,
}

impl Mark {
    /// What has to go ahead of the next statement, with the `BEGIN` where that is still to be sent as well.
    pub(super) const fn message(self, begins: bool) -> Option<&'static str> {
        match self {
            Self { set: true, .. } => None,
            Self { moves: true, .. } => Some(MOVE),
            Self { .. } if begins => Some(BEGIN_AND_SET),
            Self { .. } => Some(SET),
        }
    }

    /// The message was answered.
    pub(super) const fn reached(&mut self) {
        self.set = true;
    }
}

impl TenantTx {
    /// Marks the place that [`rollback_to_savepoint`](Self::rollback_to_savepoint) goes back to. There is one such place: what
    /// was done before it can from now on only be undone with the whole transaction.
    ///
    /// # Errors
    /// [`DbError::Misuse`] where only a rollback is left, and in anything but a transaction that writes.
    pub fn savepoint(&mut self) -> Result<(), DbError> {
        self.ready()?;
        if !self.writes() {
            return Err(DbError::Misuse("a savepoint needs a transaction that writes"));
        }
        let moves = self.mark.is_some_and(|mark| mark.set || mark.moves);
        self.mark = Some(Mark { moves, set: false, noted: self.notes.length() });
        Ok(())
    }

    /// Undoes what was done since the savepoint, notes included, also after a failed statement; the transaction goes on.
    ///
    /// # Errors
    /// [`DbError`]; after one, only [`rollback`](Self::rollback) is left.
    pub async fn rollback_to_savepoint(&mut self) -> Result<(), DbError> {
        let Some(mark) = self.mark else { return Err(DbError::Misuse("there is no savepoint to go back to")) };
        match self.phase {
            _ if self.in_flight => return Err(ABANDONED),
            Phase::Open | Phase::Failed if mark.set => {
                if let Err(error) = self.finish(GO_BACK).await {
                    self.phase = Phase::Lost;
                    return Err(error);
                }
                self.phase = Phase::Open;
                // The server has undone a change of role with the rest: the session is scoped as it was at the savepoint.
                self.scoped();
            }
            // Nothing was sent since.
            Phase::Fresh | Phase::Open => {}
            Phase::Failed | Phase::Done | Phase::Lost => return self.ready(),
        }
        self.notes.cut(mark.noted);
        Ok(())
    }
}
