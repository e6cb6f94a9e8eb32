//! A lease, what is known of it, and when it is to be resized.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use super::lease::Lease;
use super::tenant::Wish;

/// For so long it is believed that a limit is reached: whoever comes meanwhile is refused without asking the database again.
const DENIAL: Duration = Duration::from_millis(250);

/// A lease and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) lease: Lease,
    /// Until when it counts in the database; not at all when there is none.
    pub(super) until: Option<Instant>,
    /// When less than this is free, more is asked for.
    pub(super) low: Decimal,
    /// What calls wait for.
    pub(super) waiting: Decimal,
    /// When the database last had less than was needed.
    pub(super) denied: Option<Instant>,
    /// What was spent or held then, by all servers.
    pub(super) used_usd: Decimal,
    /// The limit has changed, so that what was granted may be too much.
    pub(super) outdated: bool,
    /// So little is left that what is not used goes back each second.
    pub(super) tight: bool,
    /// Something was spent that was not held here, or by an earlier process: spent and leased together may be more than the limit, and the
    /// lease another than is believed.
    pub(super) surprised: bool,
    /// A call was admitted since the last look.
    pub(super) used: bool,
    /// That calls are refused was noted.
    pub(super) refusal_noted: bool,
}

impl Entry {
    pub(super) fn is_live(&self, at: Instant) -> bool {
        self.until.is_some_and(|until| at < until)
    }

    pub(super) fn is_denied(&self, at: Instant) -> bool {
        self.denied.is_some_and(|denied| at.saturating_duration_since(denied) < DENIAL)
    }

    pub(super) fn fits(&self, amount: Option<Decimal>, at: Instant) -> bool {
        amount.is_some_and(|amount| amount.is_zero()) || (self.is_live(at) && !self.outdated && self.lease.fits(amount))
    }

    /// What is needed, what would be good to have, and whether it may shrink; nothing when it is as it should be.
    pub(super) fn wants(
        &mut self,
        wish: &Wish,
        hard: bool,
        at: Instant,
        half_life: Duration,
        slice: Decimal,
    ) -> Option<(Decimal, Decimal, bool)> {
        const NOTHING: Decimal = Decimal::ZERO;
        let free = self.lease.free();
        let live = self.is_live(at);
        match wish {
            _ if !hard => (live && free > NOTHING).then_some((NOTHING, NOTHING, true)),
            Wish::More(_) if self.outdated => Some((self.waiting, slice, true)),
            Wish::More(_) => {
                let covered = live && free >= self.waiting && free >= self.low;
                // A debt is told in any case.
                let debt = free < NOTHING;
                (!covered && (debt || !self.is_denied(at))).then_some((self.waiting, slice, false))
            }
            Wish::Leave => (live && free > NOTHING).then_some((NOTHING, NOTHING, true)),
            Wish::Look => {
                let used = std::mem::replace(&mut self.used, false);
                let slack = if used && !self.tight { slice } else { NOTHING };
                let surplus = if used && !self.tight { slice * Decimal::TWO } else { NOTHING };
                let debt = free < NOTHING;
                let old = !self.lease.is_empty()
                    && self.until.is_none_or(|until| until.saturating_duration_since(at) < half_life);
                let surprised = std::mem::take(&mut self.surprised);
                if self.outdated || (live && (surprised || free > surplus)) {
                    Some((self.waiting, slack, true))
                } else if debt || old {
                    Some((self.waiting, NOTHING, false))
                } else {
                    None
                }
            }
        }
    }
}
