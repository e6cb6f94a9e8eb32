//! What a spool knows of its segments and of calls that are under way.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use uuid::Uuid;

use super::frame::{Body, HEADER, Stamp};

/// Room for what a settled call says more than its intent did.
const GROWTH: u64 = 4096;

/// A place in the order of segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A segment with records.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    pub(super) size: u64,
    /// Where the records end that are on the disk.
    pub(super) end: u64,
    /// Whether more will come.
    pub(super) written: bool,
    /// Whether bytes of it are no records.
    pub(super) damaged: bool,
}

impl Known {
    pub(super) const fn begun(stamp: Stamp, size: u64) -> Self {
        Self { stamp, size, end: HEADER, written: true, damaged: false }
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) intent: Body,
    /// The segment that has the intent.
    pub(super) segment: u64,
    /// Since when; `None` when the process that made the call is gone. Not by the wall clock, which jumps.
    pub(super) since: Option<Instant>,
    /// Whether it was shipped as unsettled.
    pub(super) reaped: bool,
}

/// The bytes that are kept free for a call that is under way: its end, and its intent once more.
pub(super) fn reserve(intent: &Body) -> u64 {
    2 * intent.framed() + GROWTH
}

/// What happened since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) reaped: u64,
    pub(super) late: u64,
    pub(super) rejected: u64,
    pub(super) damaged: u64,
    pub(super) write_errors: u64,
    pub(super) full: bool,
}

/// All that is known. Held for moments only.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) segments: BTreeMap<u64, Known>,
    pub(super) in_flight: HashMap<Uuid, InFlight>,
    /// Everything before it is shipped.
    pub(super) position: Position,
    /// The size of all files, those that wait for records included.
    pub(super) bytes: u64,
    /// The segment whose file waits to be used again, of the usual size.
    pub(super) retired: Option<u64>,
    /// Files of segments before it are not used again.
    pub(super) renewed: u64,
    /// The room that calls under way will need.
    pub(super) reserved: u64,
    /// Rows to ship.
    pub(super) waiting: u64,
    /// How many of them somebody waits for.
    pub(super) wanted: Option<u64>,
    /// When the oldest of them came, in milliseconds.
    pub(super) oldest: Option<i64>,
    pub(super) counts: Counts,
}

impl Ledger {
    pub(super) fn begin(&mut self, id: Uuid, call: InFlight) {
        self.reserved += reserve(&call.intent);
        if let Some(before) = self.in_flight.insert(id, call) {
            self.reserved = self.reserved.saturating_sub(reserve(&before.intent));
        }
    }

    pub(super) fn end(&mut self, id: Uuid) {
        if let Some(call) = self.in_flight.remove(&id) {
            self.reserved = self.reserved.saturating_sub(reserve(&call.intent));
        }
    }

    /// Whether no record lies beyond what is shipped.
    pub(super) fn is_shipped(&self) -> bool {
        let from = |number| if number == self.position.segment { self.position.offset.max(HEADER) } else { HEADER };
        self.segments.range(self.position.segment..).all(|(number, known)| known.end <= from(*number))
    }

    pub(super) fn came(&mut self, rows: u32, at: i64) {
        if rows > 0 {
            self.waiting += u64::from(rows);
            self.oldest.get_or_insert(at);
        }
    }
}
