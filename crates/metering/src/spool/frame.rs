//! Records as they lie in a segment.
//!
//! A frame is `length`, `checksum`, body and zeros up to a multiple of eight bytes. The checksum also covers the segment's stamp and
//! the frame's place, so that bytes which lie where they were not written are none. A body begins with what is known without reading its JSON.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// Where frames begin; also the size of a segment's header.
pub(super) const HEADER: u64 = HEADER_BYTES as u64;
pub(super) const HEADER_BYTES: usize = 64;
const ALIGN: usize = 8;
/// Length and checksum.
const HEAD: usize = 8;
/// Kind, count, time and id.
const FIXED: usize = 32;
const MAGIC: &[u8; 8] = b"TNTSPL\r\n";
const VERSION: u32 = 1;

/// Which segment of which spool: part of each checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) spool: Uuid,
    pub(super) number: u64,
}

impl Stamp {
    /// The first bytes of a segment.
    pub(super) fn header(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..40].copy_from_slice(self.spool.as_bytes());
        let sum = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when it is none, or of another version.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let sum = u32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?);
        let version = u32::from_le_bytes(bytes[8..12].try_into().ok()?);
        if &bytes[..8] != MAGIC || version != VERSION || crc32fast::hash(&bytes[..40]) != sum {
            return None;
        }
        let number = u64::from_le_bytes(bytes[16..24].try_into().ok()?);
        Some(Self { spool: Uuid::from_slice(&bytes[24..40]).ok()?, number })
    }

    fn checksum(self, offset: u64, body: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(self.spool.as_bytes());
        sum.update(&self.number.to_le_bytes());
        sum.update(&offset.to_le_bytes());
        sum.update(body);
        sum.finalize()
    }
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A call is about to be made.
    Intent = 1,
    /// It ended, and this is its row.
    Settled = 2,
    /// Calls that were not made through us.
    Calls = 3,
    /// An intended call was not made after all.
    Void = 4,
    /// An intended call was never seen to end; the intent is its row.
    Reaped = 5,
    /// One that was reaped ended later: the row that it became, and the one that it should have been.
    Late = 6,
    /// An earlier segment ends before what could not be written to it.
    Seal = 7,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Intent,
            2 => Self::Settled,
            3 => Self::Calls,
            4 => Self::Void,
            5 => Self::Reaped,
            6 => Self::Late,
            7 => Self::Seal,
            _ => return None,
        })
    }
}

/// The body of a frame. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Body(Arc<[u8]>);

impl Body {
    /// A body with a value as its JSON, which becomes `count` rows.
    pub(super) fn new(
        kind: Kind,
        count: u32,
        at: DateTime<Utc>,
        id: Uuid,
        value: &impl Serialize,
    ) -> std::io::Result<Self> {
        let mut bytes = fixed(kind, count, at.timestamp_millis(), id);
        serde_json::to_writer(&mut bytes, value)?;
        Ok(Self(bytes.into()))
    }

    /// One without JSON.
    pub(super) fn bare(kind: Kind, at: DateTime<Utc>, id: Uuid) -> Self {
        Self(fixed(kind, 0, at.timestamp_millis(), id).into())
    }

    /// Says where a segment of this spool ends.
    pub(super) fn seal(number: u64, end: u64) -> Self {
        let mut bytes = fixed(Kind::Seal, 0, 0, Uuid::nil());
        bytes.extend(number.to_le_bytes());
        bytes.extend(end.to_le_bytes());
        Self(bytes.into())
    }

    /// The same as another kind.
    pub(super) fn with_kind(&self, kind: Kind, count: u32) -> Self {
        let mut bytes = fixed(kind, count, self.view().at, self.view().id);
        bytes.extend(self.view().json);
        Self(bytes.into())
    }

    /// What a call that was reaped became, and how it ended.
    pub(super) fn late(reaped: &Self, settled: &Self) -> Self {
        let (reaped, settled) = (reaped.view(), settled.view());
        let mut bytes = fixed(Kind::Late, 1, settled.at, settled.id);
        bytes.push(b'[');
        bytes.extend(reaped.json);
        bytes.push(b',');
        bytes.extend(settled.json);
        bytes.push(b']');
        Self(bytes.into())
    }

    pub(super) fn view(&self) -> View<'_> {
        View::read(&self.0).unwrap_or(View { kind: Kind::Void, count: 0, at: 0, id: Uuid::nil(), json: &[] })
    }

    /// The bytes that its frame takes.
    pub(super) fn framed(&self) -> u64 {
        (HEAD + self.0.len()).next_multiple_of(ALIGN) as u64
    }

    /// Appends its frame to bytes that begin at `base` of the segment.
    pub(super) fn frame(&self, stamp: Stamp, base: u64, into: &mut Vec<u8>) -> std::io::Result<()> {
        let length = u32::try_from(self.0.len()).map_err(std::io::Error::other)?;
        let sum = stamp.checksum(base + into.len() as u64, &self.0);
        into.extend(length.to_le_bytes());
        into.extend(sum.to_le_bytes());
        into.extend(&*self.0);
        into.resize(into.len().next_multiple_of(ALIGN), 0);
        Ok(())
    }
}

fn fixed(kind: Kind, count: u32, at: i64, id: Uuid) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1536);
    bytes.extend([kind as u8, 0, 0, 0]);
    bytes.extend(count.to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend(id.as_bytes());
    bytes
}

/// A body that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) kind: Kind,
    /// The rows it becomes.
    pub(super) count: u32,
    /// When it was given to the spool, in milliseconds.
    pub(super) at: i64,
    /// The call's id; nil where there is not one.
    pub(super) id: Uuid,
    pub(super) json: &'a [u8],
}

impl<'a> View<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let fixed = bytes.get(..FIXED)?;
        Some(Self {
            kind: Kind::of(fixed[0])?,
            count: u32::from_le_bytes(fixed[4..8].try_into().ok()?),
            at: i64::from_le_bytes(fixed[8..16].try_into().ok()?),
            id: Uuid::from_slice(&fixed[16..32]).ok()?,
            json: &bytes[FIXED..],
        })
    }

    /// What a seal says: segment and end.
    pub(super) fn sealed(&self) -> Option<(u64, u64)> {
        let number = self.json.get(..8)?.try_into().ok()?;
        let end = self.json.get(8..16)?.try_into().ok()?;
        Some((u64::from_le_bytes(number), u64::from_le_bytes(end)))
    }

    /// A copy that can be kept.
    pub(super) fn to_body(self) -> Body {
        let mut bytes = fixed(self.kind, self.count, self.at, self.id);
        bytes.extend(self.json);
        Body(bytes.into())
    }
}

/// The frames of a part of a segment.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    base: u64,
    at: usize,
    stamp: Stamp,
    /// Bytes that were no frames, with frames after them.
    pub(super) damaged: u64,
}

impl<'a> Frames<'a> {
    /// Of bytes that begin at `base`, which is where a frame begins or has begun.
    pub(super) const fn new(stamp: Stamp, base: u64, bytes: &'a [u8]) -> Self {
        Self { bytes, base, at: 0, stamp, damaged: 0 }
    }

    /// Where the next frame begins; after the last one, where the frames end.
    pub(super) const fn place(&self) -> u64 {
        self.base + self.at as u64
    }

    fn whole(&self, at: usize) -> Option<(View<'a>, usize)> {
        let head = self.bytes.get(at..at + HEAD)?;
        let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
        if length < FIXED || length > self.bytes.len() - at - HEAD {
            return None;
        }
        let sum = u32::from_le_bytes(head[4..].try_into().ok()?);
        let body = &self.bytes[at + HEAD..at + HEAD + length];
        if self.stamp.checksum(self.base + at as u64, body) != sum {
            return None;
        }
        Some((View::read(body)?, (at + HEAD + length).next_multiple_of(ALIGN)))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        if let Some((view, next)) = self.whole(self.at) {
            self.at = next;
            return Some(view);
        }
        // What is torn at the end has nothing after it. What is damaged has, and that is good.
        let rest = self.at + ALIGN;
        let found = (rest..self.bytes.len()).step_by(ALIGN).find_map(|at| Some((at, self.whole(at)?)));
        let (begin, (view, next)) = found?;
        self.damaged += (begin - self.at) as u64;
        self.at = next;
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { spool: Uuid::from_u128(7), number: 3 }
    }

    fn segment(count: usize) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for id in 1..=count {
            let body =
                Body::new(Kind::Intent, 1, DateTime::UNIX_EPOCH, Uuid::from_u128(id as u128), &"x".repeat(id)).unwrap();
            body.frame(stamp(), HEADER, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn ids(bytes: &[u8]) -> (Vec<u128>, u64) {
        let mut frames = Frames::new(stamp(), HEADER, bytes);
        let ids = frames.by_ref().map(|view| view.id.as_u128()).collect();
        (ids, frames.damaged)
    }

    #[test]
    fn every_cut_leaves_the_whole_records_before_it() {
        let (bytes, ends) = segment(20);
        for cut in 0..=bytes.len() {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(bytes.len() + 64, 0);
            // the zeros that a frame is filled up with are there already
            let whole = ends.iter().filter(|end| **end < cut + ALIGN).count() as u128;
            let (found, damaged) = ids(&torn);
            assert!(found.len() as u128 <= whole && found.len() as u128 + 1 >= whole, "cut at {cut}");
            assert!(found.iter().copied().eq(1..=found.len() as u128) && damaged == 0, "cut at {cut}");
            let before = ends.iter().filter(|end| **end <= cut).count();
            assert!(found.len() >= before, "cut at {cut}: what was whole is there");
        }
    }

    #[test]
    fn a_damaged_record_costs_itself_only() {
        let (bytes, ends) = segment(9);
        for (hit, end) in ends.iter().enumerate().take(8) {
            for back in [1, 9, 17, 40] {
                let mut damaged = bytes.clone();
                let at = end - back;
                // in the filling there is nothing to damage
                if damaged[at] == 0 {
                    continue;
                }
                damaged[at] ^= 0x40;
                let (found, lost) = ids(&damaged);
                let expected: Vec<u128> = (1..=9).filter(|id| *id != hit as u128 + 1).collect();
                assert_eq!(found, expected, "record {hit}, {back} before its end");
                assert!(lost > 0);
            }
        }
    }

    #[test]
    fn what_a_file_had_before_is_no_record() {
        let (old, _) = segment(40);
        let stamp = Stamp { number: 4, ..stamp() };
        let mut bytes = Vec::new();
        for id in 1..=9_u128 {
            let body = Body::new(Kind::Intent, 1, DateTime::UNIX_EPOCH, Uuid::from_u128(id), &"y".repeat(30)).unwrap();
            body.frame(stamp, HEADER, &mut bytes).unwrap();
        }
        for cut in 0..=bytes.len() {
            let mut file = old.clone();
            file[..cut].copy_from_slice(&bytes[..cut]);
            let mut frames = Frames::new(stamp, HEADER, &file);
            let found: Vec<u128> = frames.by_ref().map(|view| view.id.as_u128()).collect();
            let whole = cut / (bytes.len() / 9);
            assert!(found.iter().copied().eq(1..=found.len() as u128) && found.len() >= whole, "cut at {cut}");
            // but for the zeros that a frame is filled up with
            assert!(found.len() <= whole + 1 && frames.damaged == 0, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_of_another_segment_are_none() {
        let (bytes, _) = segment(3);
        let other = Stamp { number: 4, ..stamp() };
        assert_eq!(Frames::new(other, HEADER, &bytes).count(), 0);
        assert_eq!(Frames::new(stamp(), HEADER + 8, &bytes).count(), 0, "nor elsewhere in the same");
        assert_eq!(Stamp::read(&stamp().header()), Some(stamp()));
        let mut header = stamp().header();
        header[17] ^= 1;
        assert_eq!(Stamp::read(&header), None);
    }
}
