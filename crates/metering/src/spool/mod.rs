//! What was promised and not yet shipped, on this server's disk.
//!
//! Records go to segment files that were filled with zeros beforehand, so that a write needs neither space nor a change of the file's
//! metadata; a file whose records are shipped is filled already, and used again. One thread writes; whatever has come while it wrote goes out in the next write, which is on the disk when it returns.
//!
//! *What is acknowledged is on the disk.* A segment whose write fails is left, and ends where it was last known to be good.
//! *What was begun can be ended.* Room for the ends of the calls under way is kept in segments that exist already, so a call that was
//! let through is never refused for lack of space.
//! *What is shipped twice is booked once.* So the position up to which the spool is shipped is only a hint, and losing it costs time.

mod beside;
mod frame;
mod ledger;
mod read;
mod recover;
mod renew;
mod segment;
mod slot;
mod state;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tenantry_core::Clock;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::call::Call;
use frame::{Body, Kind};
use ledger::Ledger;
pub(crate) use read::Batch;
use recover::Hint;
use slot::Slot;
pub use state::SpoolState;
use writer::{Request, Writer};

/// The segments of a spool that is only emptied.
const LITTLE: u64 = 1 << 20;

/// Why the spool takes nothing.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It holds as much as it may: the database has been away, or too slow, for long.
    #[error("the spool is full")]
    Full,
    /// The disk refuses.
    #[error("the spool cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Where a spool is, and how large it may become.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Has a directory for each server of this machine.
    pub directory: PathBuf,
    /// The size of all files.
    pub max_bytes: u64,
    /// The size of one.
    pub segment_bytes: u64,
}

struct Shared {
    slot: Slot,
    id: Uuid,
    hint: Hint,
    /// The first segment that this process writes.
    first: u64,
    options: SpoolOptions,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    /// Held while the file of refused rows is written.
    beside: Mutex<()>,
    news: Notify,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &io::Error) {
        tracing::error!(target: "tenantry::spool", %error, directory = %self.slot.path.display(), "the spool cannot be written");
        self.ledger().counts.write_errors += 1;
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("directory", &self.slot.path).finish_non_exhaustive()
    }
}

/// The spool of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    queue: Sender<Request>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Spool {
    /// Takes a directory that no other process has, and takes up what is in it.
    ///
    /// # Errors
    /// When the directory cannot be made, read or written.
    pub fn open(options: SpoolOptions, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let slot = Slot::take(&options.directory)?;
        Self::on(slot, options, clock)
    }

    /// Takes a directory that a process which is gone has left with something in it; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn adopt(&self) -> io::Result<Option<Self>> {
        let options = &self.shared.options;
        let Some(slot) = Slot::left(&options.directory)? else { return Ok(None) };
        // It gets no calls, only the rows of those that were never seen to end.
        let options = SpoolOptions { segment_bytes: options.segment_bytes.min(LITTLE), ..options.clone() };
        Self::on(slot, options, Arc::clone(&self.shared.clock)).map(Some)
    }

    fn on(slot: Slot, options: SpoolOptions, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (hint, mut ledger, next) = recover::recover(&slot.path)?;
        ledger.counts.rejected = beside::rejected(&slot.path)?;
        if ledger.waiting > 0 || !ledger.in_flight.is_empty() {
            tracing::info!(
                target: "tenantry::spool", directory = %slot.path.display(), records = ledger.waiting, unsettled = ledger.in_flight.len(),
                "an earlier process left records, which are taken up"
            );
        }
        let shared = Arc::new(Shared {
            slot,
            id: hint.spool,
            hint,
            first: next,
            options,
            clock,
            ledger: Mutex::new(ledger),
            beside: Mutex::default(),
            news: Notify::new(),
        });
        let (queue, requests) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), requests, next);
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || writer.run())?;
        Ok(Self { shared, queue, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Has on disk, when it returns, that a call is about to be made: as the row that it becomes if it is never seen to end. The row
    /// that it settles as has the same id, tenant and timestamp.
    ///
    /// Dropped before it returns, the intent is withdrawn.
    ///
    /// # Errors
    /// [`SpoolError`]; the call must not be made then.
    pub async fn intend(&self, unsettled: &Call) -> Result<(), SpoolError> {
        let body = Body::new(Kind::Intent, 1, self.shared.clock.now(), unsettled.id, unsettled)?;
        let mut withdrawal = Withdrawal { queue: &self.queue, id: Some(unsettled.id) };
        let result = self.ask(|done| Request::Intent(body, done)).await;
        withdrawal.id = None;
        result
    }

    /// Has on disk, when it returns, how a call ended that was [intended](Self::intend). There is always room for it. It is written
    /// whether or not somebody waits for that.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub async fn settle(&self, call: &Call) -> Result<(), SpoolError> {
        let body = Body::new(Kind::Settled, 1, self.shared.clock.now(), call.id, call)?;
        self.ask(|done| Request::Settle(body, done)).await
    }

    /// Has calls on disk, when it returns, that were not made through us: all or none.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn record(&self, calls: &[Call]) -> Result<(), SpoolError> {
        if calls.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(calls.len()).map_err(io::Error::other)?;
        let body = Body::new(Kind::Calls, count, self.shared.clock.now(), Uuid::nil(), &calls)?;
        self.ask(|done| Request::Calls(body, done)).await
    }

    async fn ask(&self, request: impl FnOnce(writer::Done) -> Request) -> Result<(), SpoolError> {
        let (done, answer) = oneshot::channel();
        let closed = || SpoolError::Io(io::Error::other("it is closed"));
        self.queue.send(request(done)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Takes calls for lost that are under way for longer than this, and those of a process that is gone.
    pub(crate) async fn reap(&self, after: Duration) -> Result<(), SpoolError> {
        let before = Instant::now().checked_sub(after);
        let due = {
            let ledger = self.shared.ledger();
            ledger.in_flight.values().any(|call| !call.reaped && (call.since.is_none() || call.since < before))
        };
        if due { self.ask(|done| Request::Reap(before, done)).await } else { Ok(()) }
    }

    /// Rows that wait to be shipped.
    pub(crate) fn waiting(&self) -> u64 {
        self.shared.ledger().waiting
    }

    /// Resolves when so many rows wait. Until then nobody is woken: records come thousands of times a second.
    pub(crate) async fn waiting_for(&self, rows: u64) {
        loop {
            {
                let mut ledger = self.shared.ledger();
                if ledger.waiting >= rows {
                    ledger.wanted = None;
                    return;
                }
                ledger.wanted = Some(rows);
            }
            self.shared.news.notified().await;
        }
    }

    /// The next rows, about so many.
    pub(crate) async fn batch(&self, most: usize) -> io::Result<Batch> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.next_batch(most)).await.map_err(io::Error::other)?
    }

    /// A batch is where it belongs, and what only it needed can go.
    pub(crate) async fn acknowledge(&self, batch: &Batch) -> Result<(), SpoolError> {
        let mut held = Ok(());
        for number in self.shared.shipped(batch) {
            if self.shared.is_needed(number)
                && let Err(error) = self.ask(|done| Request::Carry(number, done)).await
            {
                // Those after it can go all the same: what they would tell of its calls, the database knows.
                held = Err(error);
                continue;
            }
            self.shared.release(number)?;
        }
        if !batch.is_idle() {
            let position = self.shared.ledger().position;
            if let Err(error) = self.shared.hint.at(position).write(&self.shared.slot.path) {
                tracing::warn!(target: "tenantry::spool", %error, "how far the spool is shipped cannot be written down: a restart ships more again");
            }
        }
        held
    }

    /// Names the directory for good, whichever process has it.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// Whether nothing waits any more that an earlier process wrote.
    pub(crate) fn has_shipped_what_was_left(&self) -> bool {
        let ledger = self.shared.ledger();
        ledger.position.segment >= self.shared.first
            || ledger.segments.keys().all(|segment| *segment >= self.shared.first)
    }

    /// The directory that is this process's own.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.slot.path
    }

    /// Ends the writing without waiting for it.
    pub(crate) fn end(&self) {
        let _ = self.queue.send(Request::Stop);
    }

    /// Ends the writing, and leaves the directory to others; where nothing is left, no segment is.
    pub async fn close(&self) {
        self.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        let numbers: Vec<u64> = {
            let ledger = self.shared.ledger();
            let done = ledger.is_shipped() && ledger.in_flight.values().all(|call| call.reaped);
            if done { ledger.segments.keys().copied().collect() } else { Vec::new() }
        };
        for number in numbers {
            // a segment that stays is shipped once more, which changes nothing
            let _ = self.shared.release(number);
        }
        self.shared.release_retired();
        self.shared.slot.unlock();
    }

    /// How it is, without what only the shipping knows.
    pub(crate) fn state(&self) -> SpoolState {
        let now = self.shared.clock.now().timestamp_millis();
        let ledger = self.shared.ledger();
        let counts = &ledger.counts;
        SpoolState {
            directory: self.directory().display().to_string(),
            bytes: ledger.bytes,
            max_bytes: self.shared.options.max_bytes,
            full: counts.full,
            records: ledger.waiting,
            oldest_age_seconds: ledger.oldest.map_or(0.0, |at| seconds(now - at)),
            in_flight: ledger.in_flight.values().filter(|call| !call.reaped).count() as u64,
            reaped: counts.reaped,
            late: counts.late,
            rejected: counts.rejected,
            damaged_bytes: counts.damaged,
            write_errors: counts.write_errors,
            ..SpoolState::default()
        }
    }
}

/// A clock that was set back gives no age below zero.
fn seconds(millis: i64) -> f64 {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0)).as_secs_f64()
}

/// Withdraws an intent that nobody waits for any more: the call is not made.
struct Withdrawal<'a> {
    queue: &'a Sender<Request>,
    id: Option<Uuid>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // a closed spool has no intents to withdraw
            let _ = self.queue.send(Request::Void(id));
        }
    }
}
