//! From segments to rows, for shipping.

use std::io;

use rust_decimal::Decimal;
use sha2::{Digest as _, Sha256};

use super::frame::{Frames, HEADER, Kind, View};
use super::ledger::Position;
use super::{Shared, segment};
use crate::call::{Call, Kind as RowKind};

/// Rows that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) calls: Vec<Call>,
    /// Records that are whole but are no calls.
    pub(crate) unreadable: Vec<(String, String)>,
    /// The rows that this stands for.
    rows: u64,
    from: Position,
    until: Position,
    /// When the last of them came.
    last: Option<i64>,
}

impl Batch {
    /// Whether there is nothing to ship.
    pub(crate) const fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.unreadable.is_empty()
    }

    /// Whether nothing at all has come.
    pub(crate) fn is_idle(&self) -> bool {
        self.from == self.until
    }

    fn add(&mut self, view: &View<'_>) {
        // An intent is no row yet.
        self.rows += u64::from(view.count) * u64::from(view.kind != Kind::Intent);
        self.last = Some(view.at);
        let read = match view.kind {
            Kind::Settled | Kind::Reaped => serde_json::from_slice(view.json).map(|call| self.calls.push(call)),
            Kind::Calls => serde_json::from_slice::<Vec<Call>>(view.json).map(|calls| self.calls.extend(calls)),
            Kind::Late => serde_json::from_slice::<[Call; 2]>(view.json)
                .map(|[reaped, settled]| self.calls.push(correction(reaped, &settled))),
            Kind::Intent | Kind::Void | Kind::Seal => Ok(()),
        };
        if let Err(error) = read {
            self.unreadable.push((String::from_utf8_lossy(view.json).into_owned(), error.to_string()));
        }
    }
}

/// What a call that was shipped as unsettled cost less, or more. Its name follows from the call's, so there is one.
fn correction(reaped: Call, settled: &Call) -> Call {
    let name = Sha256::digest([b"late ".as_slice(), reaped.id.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&name[..16]);
    let (before, after) = (reaped.cost.cost_usd, settled.cost.cost_usd);
    let prices_call = before.is_none() && after.is_some();
    // What nobody knows is not subtracted from what was taken at most.
    let adds = after.map_or(Decimal::ZERO, |after| after - before.unwrap_or_default());
    Call {
        id: uuid::Builder::from_custom_bytes(bytes).into_uuid(),
        kind: RowKind::Adjustment,
        adjusts: Some(reaped.id),
        prices_call,
        usage: crate::usage::Usage::default(),
        usage_source: settled.usage_source,
        usage_mismatch: false,
        cost: settled.cost.given(Some(adds), prices_call),
        latency_ms: 0,
        time_to_first_token_ms: None,
        error_message: None,
        status_code: None,
        success: settled.success,
        finish: settled.finish,
        ..reaped
    }
}

impl Shared {
    /// The next rows, about so many.
    pub(super) fn next_batch(&self, most: usize) -> io::Result<Batch> {
        let from = self.ledger().position;
        let mut batch = Batch { from, until: from, ..Batch::default() };
        while batch.calls.len() < most {
            let found = {
                let ledger = self.ledger();
                let at = batch.until;
                let mut rest = ledger.segments.range(at.segment..);
                rest.next().map(|(number, known)| {
                    let from = if *number == at.segment { at.offset.max(HEADER) } else { HEADER };
                    (*number, from, known.stamp, known.end, known.written)
                })
            };
            let Some((number, from, stamp, end, written)) = found else { break };
            batch.until = Position { segment: number, offset: from };
            if from < end {
                match segment::read(&self.slot.path, number, from, end) {
                    Ok(bytes) => self.read_from(&mut batch, Frames::new(stamp, from, &bytes), end, most),
                    // Somebody took it away: what it had is lost, but not what came after it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.note_damage(number, end - from);
                        batch.until.offset = end;
                    }
                    Err(error) => return Err(error),
                }
            }
            if batch.until.offset < end {
                break;
            }
            if written {
                break;
            }
            batch.until = Position { segment: number + 1, offset: HEADER };
        }
        Ok(batch)
    }

    fn read_from(&self, batch: &mut Batch, mut frames: Frames<'_>, end: u64, most: usize) {
        while let Some(view) = frames.next() {
            batch.add(&view);
            batch.until.offset = frames.place();
            if batch.calls.len() >= most {
                break;
            }
        }
        let mut damaged = frames.damaged;
        if batch.calls.len() < most && batch.until.offset < end {
            // Nothing whole comes before the end.
            damaged += end - batch.until.offset;
            batch.until.offset = end;
        }
        if damaged > 0 {
            self.note_damage(batch.until.segment, damaged);
        }
    }

    fn note_damage(&self, number: u64, bytes: u64) {
        tracing::error!(target: "tenantry::spool", segment = number, bytes, "records of the spool are damaged: the calls in them are lost");
        let mut ledger = self.ledger();
        ledger.counts.damaged += bytes;
        if let Some(known) = ledger.segments.get_mut(&number) {
            known.damaged = true;
        }
    }

    /// A batch is where it belongs: segments before it can go. Gives those that only calls under way still need.
    pub(super) fn shipped(&self, batch: &Batch) -> Vec<u64> {
        let mut guard = self.ledger();
        let ledger = &mut *guard;
        ledger.position = batch.until;
        // Rows of records that are damaged never come.
        ledger.waiting = if ledger.is_shipped() { 0 } else { ledger.waiting.saturating_sub(batch.rows) };
        ledger.oldest = if ledger.waiting == 0 { None } else { batch.last.or(ledger.oldest) };
        ledger.segments.range(..batch.until.segment).map(|(number, _)| *number).collect()
    }

    /// Whether a segment has the intent of a call that is under way.
    pub(super) fn is_needed(&self, number: u64) -> bool {
        self.ledger().in_flight.values().any(|call| !call.reaped && call.segment == number)
    }

    /// Lets go of a segment: its file is used again, or removed; a damaged one is kept under another name.
    pub(super) fn release(&self, number: u64) -> io::Result<()> {
        let (damaged, size, again) = {
            let ledger = self.ledger();
            let Some(known) = ledger.segments.get(&number) else { return Ok(()) };
            let usual = known.size == self.options.segment_bytes;
            (known.damaged, known.size, usual && ledger.retired.is_none() && number >= ledger.renewed)
        };
        let kept = !damaged && again && segment::retire(&self.slot.path, number)?;
        if damaged {
            segment::set_aside(&self.slot.path, number)?;
        } else if !kept {
            segment::remove(&self.slot.path, number)?;
        }
        let mut ledger = self.ledger();
        ledger.segments.remove(&number);
        if kept {
            ledger.retired = Some(number);
        } else {
            ledger.bytes = ledger.bytes.saturating_sub(size);
        }
        let renewed_meanwhile = kept && number < ledger.renewed;
        drop(ledger);
        if renewed_meanwhile {
            self.release_retired();
        }
        Ok(())
    }

    /// Removes the file that waits to be used again: nothing more is written.
    pub(super) fn release_retired(&self) {
        let retired = self.ledger().retired.take();
        if let Some(number) = retired
            && segment::remove_retired(&self.slot.path, number).is_ok()
        {
            let mut ledger = self.ledger();
            ledger.bytes = ledger.bytes.saturating_sub(self.options.segment_bytes);
        }
    }
}
