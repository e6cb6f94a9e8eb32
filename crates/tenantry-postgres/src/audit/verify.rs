//! Whether a chain is what was written.

use std::fmt;

use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::anchor::{Anchor, ChainId};
use super::export::ExportRange;
use super::hash::{Fields, GENESIS, event_hash};
use super::{AuditTrail, events, head, release, walk};
use crate::error::DbError;

/// How often a long chain says how far it is, in events.
const EVERY: u64 = 10_000;

/// What was found about one chain.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Which chain.
    pub chain: ChainId,
    /// Events that are as they were written, up to the flaw if there is one.
    pub events: u64,
    /// The head, to be written down elsewhere; none where there is a flaw.
    pub head: Option<Anchor>,
    /// What is wrong, first in the chain's order.
    pub flaw: Option<Flaw>,
}

/// The first thing that is wrong with a chain. Events are named by their number in the chain and, where there is a row, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Flaw {
    /// The row is not what its hash was made of: a value was changed, or the row was moved to another number.
    Changed {
        /// Its number.
        seq: i64,
        /// The row.
        id: i64,
    },
    /// Rows are gone before this one.
    Removed {
        /// The first that is gone.
        seq: i64,
        /// The last of them.
        last: i64,
    },
    /// A second row has a number that is taken, or one below the first.
    Inserted {
        /// The number.
        seq: i64,
        /// The row.
        id: i64,
    },
    /// The row is in itself right, but was written after another event than the one that is before it now.
    Replaced {
        /// The event that is not the one that was there.
        seq: i64,
        /// The row that says so.
        id: i64,
    },
    /// The head knows of later events than there are.
    TailRemoved {
        /// The first that is gone.
        seq: i64,
        /// The last of them.
        last: i64,
    },
    /// There are events that the head does not know.
    BeyondHead {
        /// The first of them.
        seq: i64,
        /// The row.
        id: i64,
    },
    /// The head has the number of the last event and another hash.
    HeadChanged {
        /// The number.
        seq: i64,
    },
    /// There are events and no head.
    HeadRemoved,
    /// A tenant without any event, its creation included.
    Empty,
    /// The chain never reaches an anchor.
    AnchorNotReached {
        /// The anchor's number.
        seq: i64,
    },
    /// The chain has another hash than an anchor: it was written anew.
    AnchorDiffers {
        /// The anchor's number.
        seq: i64,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { seq, id } => write!(f, "event {seq} (id {id}) was changed, or moved here"),
            Self::Removed { seq, last } if seq == last => write!(f, "event {seq} was removed"),
            Self::Removed { seq, last } => write!(f, "events {seq} to {last} were removed"),
            Self::Inserted { seq, id } => {
                write!(f, "event {seq} (id {id}) was inserted: the number is another event's")
            }
            Self::Replaced { seq, id } => {
                write!(f, "event {seq} is not the one that the next (id {id}) was written after: it was replaced")
            }
            Self::TailRemoved { seq, last } if seq == last => write!(f, "event {seq}, the last, was removed"),
            Self::TailRemoved { seq, last } => write!(f, "events {seq} to {last}, the last, were removed"),
            Self::BeyondHead { seq, id } => {
                write!(f, "event {seq} (id {id}) is beyond the chain's head: it was inserted, or the head was set back")
            }
            Self::HeadChanged { seq } => {
                write!(
                    f,
                    "the chain's head has another hash than event {seq}: the event was replaced, or the head changed"
                )
            }
            Self::HeadRemoved => f.write_str("the chain's head was removed"),
            Self::Empty => f.write_str("there is no event, not even of the tenant's creation: the chain was removed"),
            Self::AnchorNotReached { seq } => write!(f, "the chain ends before event {seq}, which an anchor knows"),
            Self::AnchorDiffers { seq } => {
                write!(f, "event {seq} has another hash than the anchor: the chain was written anew at or before it")
            }
        }
    }
}

impl AuditTrail {
    /// Recomputes a chain from its first event to its head and compares it with the anchors that are its own. `progress` is told
    /// how many events were read, now and then.
    ///
    /// # Errors
    /// [`DbError`]; a flaw is no error but the answer.
    pub async fn verify(
        &self,
        chain: ChainId,
        anchors: &[Anchor],
        mut progress: impl FnMut(u64),
    ) -> Result<Verdict, DbError> {
        let client = self.snapshot().await?;
        let head = head(&client, chain).await?;
        let rows = events(&client, chain, ExportRange::default()).await?;
        let mut check = Check::new(chain, head.as_ref(), anchors);
        walk(rows, |row| {
            if check.read > 0 && check.read.is_multiple_of(EVERY) {
                progress(check.read);
            }
            check.take(row)
        })
        .await?;
        check.end();
        let Check { read, flaw, .. } = check;
        release(client).await?;
        Ok(Verdict { chain, events: read, head: head.filter(|_| flaw.is_none()), flaw })
    }
}

/// A walk along a chain.
struct Check<'a> {
    chain: ChainId,
    head: Option<&'a Anchor>,
    anchors: Vec<&'a Anchor>,
    read: u64,
    last: i64,
    hash: Vec<u8>,
    flaw: Option<Flaw>,
}

impl<'a> Check<'a> {
    fn new(chain: ChainId, head: Option<&'a Anchor>, anchors: &'a [Anchor]) -> Self {
        let anchors = anchors.iter().filter(|anchor| anchor.chain == chain).collect();
        Self { chain, head, anchors, read: 0, last: 0, hash: GENESIS.to_vec(), flaw: None }
    }

    /// Takes the next event, and says whether to go on.
    fn take(&mut self, row: &Row) -> bool {
        self.flaw = self.compare(row);
        self.read += u64::from(self.flaw.is_none());
        self.flaw.is_none()
    }

    fn compare(&mut self, row: &Row) -> Option<Flaw> {
        let (seq, id): (i64, i64) = (row.get("seq"), row.get("id"));
        let (prev, hash): (&[u8], &[u8]) = (row.get("prev_hash"), row.get("hash"));
        if seq <= self.last {
            return Some(Flaw::Inserted { seq, id });
        }
        if seq > self.last + 1 {
            return Some(Flaw::Removed { seq: self.last + 1, last: seq - 1 });
        }
        if self.head.is_some_and(|head| seq > head.seq) {
            return Some(Flaw::BeyondHead { seq, id });
        }
        let chain: Option<Uuid> = row.get("tenant_id");
        let fields = Fields {
            chain: chain.unwrap_or_default(),
            seq,
            id,
            micros: row.get("micros"),
            actor_kind: row.get("actor_kind"),
            actor: row.get("actor"),
            action: row.get("action"),
            target: row.get("target"),
            request_id: row.get("request_id"),
            client_ip: row.get("client_ip"),
            details: row.get("details"),
        };
        if event_hash(prev, &fields) != *hash {
            return Some(Flaw::Changed { seq, id });
        }
        if prev != self.hash {
            return Some(if seq == 1 { Flaw::Changed { seq, id } } else { Flaw::Replaced { seq: seq - 1, id } });
        }
        if self.anchors.iter().any(|anchor| anchor.seq == seq && anchor.hash != hash) {
            return Some(Flaw::AnchorDiffers { seq });
        }
        self.last = seq;
        self.hash = hash.to_vec();
        None
    }

    /// Compares what is at the end with the head and with anchors that were not passed.
    fn end(&mut self) {
        if self.flaw.is_some() {
            return;
        }
        let (last, next) = (self.last, self.last + 1);
        self.flaw = match self.head {
            Some(head) if head.seq > last => Some(Flaw::TailRemoved { seq: next, last: head.seq }),
            Some(head) if head.hash != self.hash => Some(Flaw::HeadChanged { seq: last }),
            None if last > 0 => Some(Flaw::HeadRemoved),
            None if self.chain.tenant().is_some() => Some(Flaw::Empty),
            _ => None,
        };
        if self.flaw.is_none() {
            let ahead = self.anchors.iter().find(|anchor| anchor.seq > last);
            self.flaw = ahead.map(|anchor| Flaw::AnchorNotReached { seq: anchor.seq });
        }
    }
}
