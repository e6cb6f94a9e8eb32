//! What is shipped does not stay on the disk for good.
//!
//! The file of a segment that is shipped is used again, and what it has had stays in it until that is written over: on a quiet server for as
//! long as the server runs. So now and then all files are let go of. Those in their place are filled beside the writing, so that no call waits for that.

use std::io;
use std::path::PathBuf;

use super::segment;
use super::writer::Request;
use super::{Spool, SpoolError};

/// As many as a start makes.
const FRESH: u64 = 2;

impl Spool {
    /// Goes on in new files. Those that were there go when what is in them is shipped; when that is so already, soon after this returns.
    ///
    /// # Errors
    /// [`SpoolError`]; then the files stay for now.
    pub(crate) async fn renew(&self) -> Result<(), SpoolError> {
        let size = self.shared.options.segment_bytes;
        let count = {
            let mut ledger = self.shared.ledger();
            if ledger.segments.is_empty() && ledger.retired.is_none() {
                // nothing was written
                return Ok(());
            }
            let count = FRESH.min(self.shared.options.max_bytes.saturating_sub(ledger.bytes) / size);
            ledger.bytes += count * size;
            count
        };
        if count == 0 {
            return Err(SpoolError::Full);
        }
        let directory = self.directory().to_owned();
        let made = tokio::task::spawn_blocking(move || {
            (0..count).map(|n| segment::fill(&directory, n, size)).collect::<io::Result<Vec<PathBuf>>>()
        });
        match made.await.map_err(io::Error::other).flatten() {
            Ok(files) => self.ask(|done| Request::Renew(files, done)).await,
            Err(error) => {
                self.shared.ledger().bytes -= count * size;
                Err(error.into())
            }
        }
    }
}
