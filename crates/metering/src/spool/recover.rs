//! What an earlier process left.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::frame::{Body, Frames, HEADER, Kind, Stamp};
use super::ledger::{InFlight, Known, Ledger, Position};
use super::segment;
use super::slot::segments;

/// Where the shipped part ends, and whose segments that is about. It is a hint: what is shipped twice is booked once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Hint {
    pub(super) spool: Uuid,
    segment: u64,
    offset: u64,
}

impl Hint {
    const FILE: &str = "position.json";

    /// Reads it; a spool without one is a new one.
    fn read(directory: &Path) -> io::Result<Self> {
        match fs::read(directory.join(Self::FILE)) {
            // One that a crash has torn says nothing, either.
            Ok(bytes) => serde_json::from_slice(&bytes).or_else(|_| Self::new(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::new(directory),
            Err(error) => Err(error),
        }
    }

    fn new(directory: &Path) -> io::Result<Self> {
        let hint = Self { spool: Uuid::new_v4(), segment: 0, offset: HEADER };
        hint.write(directory).map(|()| hint)
    }

    pub(super) const fn at(self, position: Position) -> Self {
        Self { segment: position.segment, offset: position.offset, ..self }
    }

    pub(super) fn write(self, directory: &Path) -> io::Result<()> {
        let new = directory.join("position.new");
        fs::write(&new, serde_json::to_vec(&self)?)?;
        fs::rename(new, directory.join(Self::FILE))
    }
}

/// What is in a directory, and the number of the next segment.
pub(super) fn recover(directory: &Path) -> io::Result<(Hint, Ledger, u64)> {
    let hint = Hint::read(directory)?;
    let mut ledger = Ledger { position: Position { segment: hint.segment, offset: hint.offset }, ..Ledger::default() };
    let mut next = hint.segment + 1;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Its records were shipped, and it was to be used again.
        if path.extension().is_some_and(|extension| extension == segment::RETIRED) {
            fs::remove_file(path)?;
        }
    }
    for (number, path) in segments(directory)? {
        next = next.max(number + 1);
        let size = fs::metadata(&path)?.len();
        let head = segment::read(directory, number, 0, HEADER.min(size))?;
        match Stamp::read(&head) {
            Some(stamp) => {
                if stamp.spool != hint.spool && number <= ledger.position.segment {
                    // Somebody put it there: the position says nothing about it.
                    ledger.position = Position { segment: number, offset: HEADER };
                }
                ledger.bytes += size;
                ledger.segments.insert(number, Known { end: size, written: false, ..Known::begun(stamp, size) });
            }
            // It was made in advance, and not used.
            None if head.iter().all(|byte| *byte == 0) => segment::remove(directory, number)?,
            None => {
                tracing::error!(target: "tenantry::spool", path = %path.display(), "not a segment that this program can read: it is set aside");
                ledger.counts.damaged += size;
                segment::set_aside(directory, number)?;
            }
        }
    }
    let seals = scan(directory, hint, &mut ledger)?;
    if !seals.is_empty() {
        // Now that the ends are known, without what lies beyond them.
        for (number, end) in seals {
            if let Some(known) = ledger.segments.get_mut(&number) {
                known.end = known.end.min(end);
            }
        }
        (ledger.in_flight, ledger.reserved, ledger.waiting, ledger.oldest) = Default::default();
        scan(directory, hint, &mut ledger)?;
    }
    Ok((hint, ledger, next))
}

/// Reads all segments up to their ends, and finds these.
fn scan(directory: &Path, hint: Hint, ledger: &mut Ledger) -> io::Result<Vec<(u64, u64)>> {
    let (mut begun, mut ended) = (HashMap::<Uuid, (Body, u64)>::new(), HashSet::new());
    let mut seals = Vec::new();
    let numbers: Vec<u64> = ledger.segments.keys().copied().collect();
    for number in numbers {
        let Some((stamp, end)) = ledger.segments.get(&number).map(|known| (known.stamp, known.end)) else { continue };
        let bytes = segment::read(directory, number, HEADER, end)?;
        let mut frames = Frames::new(stamp, HEADER, &bytes);
        let mut place = HEADER;
        while let Some(view) = frames.next() {
            place = frames.place();
            match view.kind {
                Kind::Intent => drop(begun.insert(view.id, (view.to_body(), number))),
                Kind::Settled | Kind::Void | Kind::Reaped | Kind::Late => drop(ended.insert(view.id)),
                Kind::Seal if stamp.spool == hint.spool => seals.extend(view.sealed()),
                Kind::Seal | Kind::Calls => {}
            }
            if (Position { segment: number, offset: place }) > ledger.position {
                ledger.came(view.count * u32::from(view.kind != Kind::Intent), view.at);
            }
        }
        if let Some(known) = ledger.segments.get_mut(&number) {
            known.end = place;
        }
    }
    for (id, (intent, segment)) in begun {
        if !ended.contains(&id) {
            ledger.begin(id, InFlight { intent, segment, since: None, reaped: false });
        }
    }
    Ok(seals)
}
