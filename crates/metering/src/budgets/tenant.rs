//! What a server knows of one tenant's budgets, in memory. No I/O; the time is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use uuid::Uuid;

use super::entry::Entry;
use super::lease::{Granted, Lease};
use super::model::Scope;
use super::period::{Period, Span};
use crate::call::{Attribution, Call, Kind, Source};
use crate::store::leases::{Asked, Resized};

/// The least that is asked for a call of which nobody knows what it costs.
const LEAST: Decimal = Decimal::from_parts(1, 0, 0, false, 12);
/// Ids of shipped calls whose hold has not been settled yet. There are as many as shipping overtakes the end of a request.
const MOST_EARLY: usize = 4096;

/// A budget's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) budget: Uuid,
    pub(crate) start: NaiveDate,
}

/// A budget, as far as admission needs it.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) scope_id: Uuid,
    pub(crate) period: Period,
    pub(crate) limit_usd: Decimal,
    pub(crate) hard: bool,
    pub(crate) version: i64,
    /// The period that was asked for last.
    pub(crate) span: Option<Span>,
}

impl Limit {
    fn span(&mut self, now: DateTime<Utc>, zone: Tz) -> &Span {
        if !self.span.as_ref().is_some_and(|span| span.holds(now, zone)) {
            self.span = None;
        }
        let period = self.period;
        self.span.get_or_insert_with(|| Span::at(period, now, zone))
    }
}

/// What became of a call that wants to be admitted.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Nothing holds it back.
    Unlimited,
    /// It is held in these; `refill`: more should be asked for, for those that come after it.
    Held { keys: Vec<Key>, refill: bool },
    /// These have not enough now. The database may have.
    Short(Vec<Key>),
    /// This has not enough, and the database has not either.
    Exhausted(Refused),
    /// Nobody knows what it costs, and that is not allowed under this.
    Unpriced(String),
}

/// The budget that refuses a call.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) period: Period,
    pub(crate) limit_usd: Decimal,
    pub(crate) used_usd: Decimal,
    pub(crate) resets_at: DateTime<Utc>,
}

/// A call that is done and not in the database.
#[derive(Debug)]
struct Done {
    cost: Decimal,
    keys: Vec<Key>,
}

/// Why leases are resized.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Calls wait, or will soon.
    More(Vec<Key>),
    /// A look at all, each second.
    Look,
    /// The server stops: all that is not taken goes back.
    Leave,
}

#[derive(Debug)]
pub(crate) struct State {
    zone: Tz,
    limits: HashMap<Uuid, Limit>,
    /// Budgets by whose spending they count, in the order of their ids.
    of_scope: HashMap<(Scope, Uuid), Vec<Uuid>>,
    entries: HashMap<Key, Entry>,
    done: HashMap<Uuid, Done>,
    early: HashSet<Uuid>,
    /// Calls of an earlier process that were taken off in a shipment of this one, by which the database has lowered the lease.
    taken: HashSet<Uuid>,
    holds: usize,
    /// Periods whose spending has changed, or whose limit.
    touched: HashSet<Key>,
    refusals: HashSet<Key>,
}

/// A tenant that has budgets, or had.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    /// Held by whoever resizes: one at a time, so that an answer finds what was asked.
    pub(crate) resizing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

impl Tenant {
    pub(crate) fn new(id: TenantId, zone: Tz) -> Self {
        let state = State {
            zone,
            limits: HashMap::new(),
            of_scope: HashMap::new(),
            entries: HashMap::new(),
            done: HashMap::new(),
            early: HashSet::new(),
            taken: HashSet::new(),
            holds: 0,
            touched: HashSet::new(),
            refusals: HashSet::new(),
        };
        Self { id, resizing: tokio::sync::Mutex::new(()), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A budget is new, changed or gone. Gives whether there are any left.
    pub(crate) fn change(&mut self, limit: Limit, deleted: bool, zone: Tz, now: DateTime<Utc>) -> bool {
        self.zone = zone;
        let known = self.limits.get(&limit.id).map(|known| known.version);
        if !deleted && known == Some(limit.version) {
            return true;
        }
        let place = (limit.scope, limit.scope_id);
        let ids = self.of_scope.entry(place).or_default();
        ids.retain(|id| *id != limit.id);
        if deleted {
            if ids.is_empty() {
                self.of_scope.remove(&place);
            }
            self.limits.remove(&limit.id);
            self.entries.retain(|key, _| key.budget != limit.id);
            self.touched.retain(|key| key.budget != limit.id);
        } else {
            ids.push(limit.id);
            ids.sort_unstable();
            for (_, entry) in self.entries.iter_mut().filter(|(key, _)| key.budget == limit.id) {
                entry.outdated = true;
                entry.denied = None;
            }
            self.touched.insert(Key { budget: limit.id, start: Span::at(limit.period, now, zone).start });
            self.limits.insert(limit.id, limit);
        }
        !self.limits.is_empty()
    }

    /// A lease of an earlier process of this server.
    pub(crate) fn inherit(&mut self, key: Key, amount: Decimal, until: Instant) {
        if self.limits.contains_key(&key.budget) && amount > Decimal::ZERO {
            self.entries.insert(key, Entry { lease: Lease::inherit(amount), until: Some(until), ..Entry::default() });
        }
    }

    /// Nothing of an earlier process is left to ship.
    pub(crate) fn recovered(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.lease.recovered());
    }

    /// The budgets that a call counts in.
    fn counting(&self, tenant: TenantId, attribution: &Attribution) -> impl Iterator<Item = Uuid> {
        let places = [
            Some((Scope::Tenant, *tenant.as_uuid())),
            attribution.agent_id.map(|id| (Scope::Agent, id)),
            attribution.api_key_id.map(|id| (Scope::Key, id)),
        ];
        let found = places.into_iter().flatten().filter_map(|place| self.of_scope.get(&place));
        found.flatten().copied()
    }

    /// The periods of budgets that a call counts in, by the day that is stored with it.
    fn counting_of(&self, call: &Call) -> impl Iterator<Item = Key> {
        self.counting(call.tenant_id, &call.attribution).filter_map(|id| self.key_of(id, call.day))
    }

    fn key_of(&self, budget: Uuid, day: NaiveDate) -> Option<Key> {
        let start = self.limits.get(&budget)?.period.start_of(day);
        Some(Key { budget, start })
    }

    /// Holds what a call may cost in every hard budget that it counts in, or in none.
    pub(crate) fn take(&mut self, tenant: TenantId, call: &Wanted<'_>) -> Taken {
        let Wanted { attribution, amount, now, zone, at, unpriced } = *call;
        let ids: Vec<Uuid> = self.counting(tenant, attribution).collect();
        let mut keys = Vec::with_capacity(ids.len());
        let mut short = Vec::new();
        for id in ids {
            let Some(limit) = self.limits.get_mut(&id).filter(|limit| limit.hard) else { continue };
            if amount.is_none() && !unpriced {
                return Taken::Unpriced(limit.name.clone());
            }
            let key = Key { budget: id, start: limit.span(now, zone).start };
            let entry = self.entries.entry(key).or_default();
            if !entry.fits(amount, at) {
                if entry.is_denied(at) && !entry.outdated {
                    return Taken::Exhausted(self.refused(key, now, zone));
                }
                short.push(key);
            }
            keys.push(key);
        }
        if !short.is_empty() {
            return Taken::Short(short);
        }
        if keys.is_empty() {
            return Taken::Unlimited;
        }
        let mut refill = false;
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.used = true;
                entry.lease.hold(amount.unwrap_or_default());
                refill |= entry.lease.free() < entry.low;
            }
        }
        self.holds += 1;
        Taken::Held { keys, refill }
    }

    fn refused(&mut self, key: Key, now: DateTime<Utc>, zone: Tz) -> Refused {
        if let Some(entry) = self.entries.get_mut(&key)
            && !std::mem::replace(&mut entry.refusal_noted, true)
        {
            self.refusals.insert(key);
        }
        let used_usd = self.entries.get(&key).map(|entry| entry.used_usd).unwrap_or_default();
        let limit = self.limits.get_mut(&key.budget);
        let (name, period, limit_usd) = limit
            .as_ref()
            .map_or_else(Default::default, |limit| (limit.name.clone(), Some(limit.period), limit.limit_usd));
        let resets_at = limit.map_or(now, |limit| limit.span(now, zone).instants.end);
        Refused { id: key.budget, name, period: period.unwrap_or(Period::Day), limit_usd, used_usd, resets_at }
    }

    /// A call begins, or ceases, to wait for so much.
    pub(crate) fn wait(&mut self, keys: &[Key], amount: Option<Decimal>, begins: bool) {
        let amount = amount.unwrap_or(LEAST);
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.waiting =
                    if begins { entry.waiting + amount } else { (entry.waiting - amount).max(Decimal::ZERO) };
            }
        }
    }

    /// A hold is given back.
    pub(crate) fn release(&mut self, keys: &[Key], amount: Decimal) {
        self.holds = self.holds.saturating_sub(1);
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.lease.release(amount);
            }
        }
    }

    /// A call that was held is done: what it cost is spent, in the periods of its own day. Gives the leases that it overran.
    pub(crate) fn settle(&mut self, keys: &[Key], amount: Decimal, call: &Call) -> Vec<Key> {
        self.release(keys, amount);
        let cost = call.cost.cost_usd.unwrap_or_default();
        // Shipping may have overtaken this. Then it is counted already.
        if self.early.remove(&call.id) || cost.is_zero() {
            return Vec::new();
        }
        let keys: Vec<Key> = keys.iter().filter_map(|key| self.key_of(key.budget, call.day)).collect();
        let mut overrun = Vec::new();
        for key in &keys {
            let entry = self.entries.entry(*key).or_default();
            entry.lease.spend(cost);
            if entry.lease.free() < Decimal::ZERO {
                overrun.push(*key);
            }
        }
        self.done.insert(call.id, Done { cost, keys });
        overrun
    }

    /// What shipping these calls takes off this server's leases.
    pub(crate) fn taken_off<'a>(&mut self, calls: impl Iterator<Item = &'a Call>, off: &mut Vec<(Key, Decimal)>) {
        let mut inherited: HashMap<Key, Decimal> = HashMap::new();
        for call in calls {
            if let Some(done) = self.done.get(&call.id) {
                off.extend(done.keys.iter().map(|key| (*key, done.cost)));
                continue;
            }
            for (key, cost) in self.inheriting(call) {
                let Some(entry) = self.entries.get(&key) else { continue };
                let before = inherited.entry(key).or_default();
                let share = entry.lease.share_of_inherited(*before + cost) - *before;
                *before += share;
                off.push((key, share));
                self.taken.insert(call.id);
            }
        }
    }

    /// The leases of an earlier process that a call may have been held in.
    fn inheriting(&self, call: &Call) -> Vec<(Key, Decimal)> {
        let cost = call.cost.cost_usd.unwrap_or_default();
        let may = call.source == Source::Gateway && call.kind == Kind::Call && cost > Decimal::ZERO;
        let inherits = |key: &Key| self.entries.get(key).is_some_and(|entry| !entry.lease.inherited().is_zero());
        if may { self.counting_of(call).filter(inherits).map(|key| (key, cost)).collect() } else { Vec::new() }
    }

    /// A call is in the database.
    pub(crate) fn shipped(&mut self, call: &Call) {
        let counting: Vec<Key> = self.counting_of(call).collect();
        self.touched.extend(&counting);
        if let Some(done) = self.done.remove(&call.id) {
            for key in done.keys {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.lease.ship(done.cost);
                }
            }
            return;
        }
        // One that a process before this took off, and whose acknowledgement it did not live to see, is taken off once.
        let inherited = if self.taken.remove(&call.id) { self.inheriting(call) } else { Vec::new() };
        for key in &counting {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.surprised |= call.cost.cost_usd.is_some_and(|cost| !cost.is_zero());
            }
        }
        for (key, cost) in inherited {
            if let Some(entry) = self.entries.get_mut(&key) {
                let share = entry.lease.share_of_inherited(cost);
                entry.lease.ship_inherited(share);
            }
        }
        if self.holds > 0 && call.source == Source::Gateway && call.kind == Kind::Call {
            if self.early.len() >= MOST_EARLY {
                self.early.clear();
            }
            self.early.insert(call.id);
        }
    }

    /// What is to be asked of the database. What may shrink cannot be taken from until [`answered`](Self::answered).
    pub(crate) fn asks(&mut self, wish: &Wish, at: Instant, half_life: Duration, slice_percent: u8) -> Vec<Asked> {
        let keys: Vec<Key> = match wish {
            Wish::More(keys) => keys.clone(),
            Wish::Look => {
                self.entries.retain(|_, entry| {
                    entry.used || entry.surprised || !entry.lease.is_empty() || !entry.waiting.is_zero()
                });
                self.entries.keys().copied().collect()
            }
            Wish::Leave => self.entries.keys().copied().collect(),
        };
        let mut asked = Vec::new();
        for key in keys {
            let Some(limit) = self.limits.get(&key.budget) else { continue };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let slice = (limit.limit_usd * Decimal::new(slice_percent.into(), 2)).trunc_with_scale(12);
            if let Some((need, slack, shrink)) = entry.wants(wish, limit.hard, at, half_life, slice) {
                let live = entry.is_live(at);
                if !live {
                    entry.lease.expire();
                }
                let ask = entry.lease.ask(live, need, slack, shrink);
                asked.push(Asked { key, end: limit.period.after(key.start), ask });
            }
        }
        asked.sort_unstable_by_key(|asked| asked.key);
        asked
    }

    /// The database has answered what was asked at `at`.
    pub(crate) fn answered(&mut self, asked: &[Asked], resized: &[Resized], at: Instant, lease: Duration, quiet: bool) {
        for Asked { key, .. } in asked {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let Some(answer) = resized.iter().find(|resized| resized.key == *key) else {
                // The budget was deleted.
                entry.lease.refused();
                continue;
            };
            let Granted { enough, .. } = answer.granted;
            entry.lease.granted(answer.granted, quiet);
            entry.until = Some(at + lease);
            entry.outdated = false;
            entry.tight = answer.tight || !enough;
            entry.denied = (!enough).then(Instant::now);
            entry.used_usd = answer.used_usd;
            entry.low = if enough { entry.lease.free() / Decimal::TWO } else { Decimal::ZERO };
        }
    }

    /// The database has not answered; `unknown`: it may have done it.
    pub(crate) fn unanswered(&mut self, asked: &[Asked], unknown: bool) {
        for Asked { key, .. } in asked {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            if unknown { entry.lease.doubtful() } else { entry.lease.refused() }
        }
    }

    /// Periods to look at for warnings, with the day after each, and those in which a call was refused.
    pub(crate) fn news(&mut self) -> [Vec<(Key, NaiveDate)>; 2] {
        let (touched, refusals) = (std::mem::take(&mut self.touched), std::mem::take(&mut self.refusals));
        let end = |key: Key| Some((key, self.limits.get(&key.budget)?.period.after(key.start)));
        [touched, refusals].map(|keys| keys.into_iter().filter_map(end).collect())
    }

    /// One of the [`news`](Self::news) is to be told again.
    pub(crate) fn touch(&mut self, key: Key, refused: bool) {
        if refused {
            self.refusals.insert(key)
        } else {
            self.touched.insert(key)
        };
    }

    /// All budgets are to be looked at, in their present periods.
    pub(crate) fn touch_all(&mut self, now: DateTime<Utc>) {
        let zone = self.zone;
        let keys =
            self.limits.values().map(|limit| Key { budget: limit.id, start: Span::at(limit.period, now, zone).start });
        self.touched.extend(keys);
    }

    /// What of a budget is leased to this server, what of it is taken, and whether it counts.
    #[cfg(test)]
    pub(crate) fn lease(&self, key: Key) -> (Decimal, Decimal, bool) {
        let known = |entry: &Entry| (entry.lease.leased(), entry.lease.exposure(), entry.is_live(Instant::now()));
        self.entries.get(&key).map(known).unwrap_or_default()
    }
}

/// A call that wants to be admitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) attribution: &'a Attribution,
    /// The most that it costs, where that is known.
    pub(crate) amount: Option<Decimal>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) zone: Tz,
    pub(crate) at: Instant,
    /// Whether one of which it is not known is admitted at all.
    pub(crate) unpriced: bool,
}
