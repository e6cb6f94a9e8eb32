//! The arithmetic of one server, one budget and one period. No I/O, no clock.
//!
//! ```text
//! leased = held (calls under way) + unshipped (calls done, not in the database) + inherited (an earlier process's) + free
//! ```
//!
//! `leased` mirrors the server's row in `analytics.budget_leases`: both change by the same amounts. `free` may be below zero: calls
//! have cost more than was held for them.

use rust_decimal::Decimal;

/// What a server may spend of a budget in a period, and what of it is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    leased: Decimal,
    held: Decimal,
    unshipped: Decimal,
    inherited: Decimal,
    /// Cannot be taken at the moment: it is on its way back to the database.
    returning: Decimal,
}

/// What a server asks of the database for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// What it believes to have; nothing when it has no row that counts.
    pub(crate) leased: Option<Decimal>,
    /// What is taken, or spent.
    pub(crate) exposure: Decimal,
    /// What is wanted besides, for calls that wait.
    pub(crate) need: Decimal,
    /// What would be good to have besides, for calls to come.
    pub(crate) slack: Decimal,
    /// Whether it may become smaller than it is.
    pub(crate) shrink: bool,
}

/// What the database made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The lease before, if it was changed; nothing if it was made.
    pub(crate) before: Option<Decimal>,
    /// The lease now.
    pub(crate) now: Decimal,
    /// Whether all that was needed is in it.
    pub(crate) enough: bool,
}

impl Lease {
    /// What an earlier process of this server left: spent and not shipped, or never spent; which of the two is known when all that it
    /// left in the spool is shipped.
    pub(crate) const fn inherit(amount: Decimal) -> Self {
        Self {
            leased: amount,
            held: Decimal::ZERO,
            unshipped: Decimal::ZERO,
            inherited: amount,
            returning: Decimal::ZERO,
        }
    }

    /// What can be given to calls.
    pub(crate) fn free(&self) -> Decimal {
        self.leased - self.exposure() - self.returning
    }

    /// What has been given to calls, or is spent.
    pub(crate) fn exposure(&self) -> Decimal {
        self.held + self.unshipped + self.inherited
    }

    #[cfg(test)]
    pub(crate) const fn leased(&self) -> Decimal {
        self.leased
    }

    pub(crate) const fn inherited(&self) -> Decimal {
        self.inherited
    }

    /// Nothing is in it, and nothing is expected of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.leased <= Decimal::ZERO && self.held.is_zero() && self.unshipped.is_zero() && self.inherited.is_zero()
    }

    /// Whether a call can be given so much. One that costs nothing always can; one of which it is not known, while there is anything.
    pub(crate) fn fits(&self, amount: Option<Decimal>) -> bool {
        match amount {
            Some(amount) => amount.is_zero() || self.free() >= amount,
            None => self.free() > Decimal::ZERO,
        }
    }

    pub(crate) fn hold(&mut self, amount: Decimal) {
        self.held += amount;
    }

    pub(crate) fn release(&mut self, amount: Decimal) {
        self.held -= amount;
    }

    /// A call is done, and its cost is not in the database.
    pub(crate) fn spend(&mut self, cost: Decimal) {
        self.unshipped += cost;
    }

    /// The cost of a call of this process is in the database, and was taken off the lease there.
    pub(crate) fn ship(&mut self, cost: Decimal) {
        self.leased -= cost;
        self.unshipped -= cost;
    }

    /// How much of a cost that an earlier process left is taken off the lease when it is shipped.
    pub(crate) fn share_of_inherited(&self, cost: Decimal) -> Decimal {
        cost.min(self.inherited).max(Decimal::ZERO)
    }

    /// As [`ship`](Self::ship), of an earlier process's call.
    pub(crate) fn ship_inherited(&mut self, share: Decimal) {
        self.leased -= share;
        self.inherited -= share;
    }

    /// Nothing of an earlier process is left to ship.
    pub(crate) fn recovered(&mut self) {
        self.inherited = Decimal::ZERO;
    }

    /// Begins to ask the database. What may become smaller cannot be taken from until the answer is there.
    /// `live`: there is a row that counts.
    pub(crate) fn ask(&mut self, live: bool, need: Decimal, slack: Decimal, shrink: bool) -> Ask {
        let ask = Ask { leased: live.then_some(self.leased), exposure: self.exposure(), need, slack, shrink };
        if shrink {
            self.returning = self.free().max(Decimal::ZERO);
        }
        ask
    }

    /// The database has answered. `quiet`: nothing was shipped meanwhile, so that its row and this say the same.
    pub(crate) fn granted(&mut self, granted: Granted, quiet: bool) {
        self.returning = Decimal::ZERO;
        match granted.before {
            Some(before) if !quiet => self.leased += granted.now - before,
            _ => self.leased = granted.now,
        }
    }

    /// The database has not done what was asked.
    pub(crate) fn refused(&mut self) {
        self.returning = Decimal::ZERO;
    }

    /// Nobody knows whether the database has done what was asked: what was to be given back is not used any more.
    pub(crate) fn doubtful(&mut self) {
        self.leased -= self.returning;
        self.returning = Decimal::ZERO;
    }

    /// It counts no more in the database, so there is nothing to take from.
    pub(crate) fn expire(&mut self) {
        self.leased = Decimal::ZERO;
        self.inherited = Decimal::ZERO;
    }
}
