//! What the pool knows of its cells, and which idle connection serves a tenant best.
//!
//! Changing a connection's tenant costs more than most statements, and so does waking a backend that rests: its memory has
//! left the processor's caches. So connections divide the work. A tenant with a large part in its cell's requests is *frequent*
//! and has a connection for itself, which returns to it scoped. All others share: their connections change tenants, always the ones
//! that were opened first, so that few backends do most of the work and stay warm, however many a burst has left behind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tenantry_core::TenantId;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::CellId;
use crate::config::{AccessConfig, AccessMode};
use crate::registry::Tenant;

use super::connection::Connection;

/// A connection that rested for so long is not missed by the tenant it served last.
const RESTED: Duration = Duration::from_secs(1);
/// After so many requests of the cell one counts half.
const HALF_LIFE: f32 = 128.0;
/// From so many on, of about the last 185, a tenant is frequent: 1 in 37 requests of its cell.
const FREQUENT: f32 = 5.0;
/// Below so many queues of tenants nobody looks for unused ones.
const SWEEP_FROM: usize = 256;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) cells: BTreeMap<CellId, Cell>,
    pub(super) live: usize,
    pub(super) closed: bool,
    /// How many tenants have a queue, and at how many the unused ones are removed next.
    queues: usize,
    sweep_at: usize,
}

#[derive(Debug)]
pub(super) struct Cell {
    permits: Arc<Semaphore>,
    tenants: HashMap<TenantId, Share>,
    /// Requests so far.
    clock: u64,
    /// Least recently used first.
    idle: Vec<Idle>,
    pub(super) live: usize,
    /// Told when a connection is back or gone.
    pub(super) returned: Arc<Notify>,
}

/// What a cell knows of a tenant.
#[derive(Debug)]
struct Share {
    permits: Arc<Semaphore>,
    /// Its part in the cell's requests.
    part: Part,
    /// Connections at work for it.
    at_work: usize,
    /// Told when one of them is back or gone.
    returned: Arc<Notify>,
}

#[derive(Debug)]
struct Idle {
    rest: Rest,
    connection: Box<Connection>,
}

/// What counts of an idle connection when one is chosen. It is kept beside the connection, since to look at each of those would
/// cost more than the choice.
#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Instant,
    /// The tenant it is scoped to, and that tenant's part when it came back.
    bound: Option<TenantId>,
    part: Part,
    /// The how-manieth connection of the process it is.
    number: u64,
}

/// Which of a cell's idle connections serves a tenant.
#[derive(Debug)]
pub(super) enum Choice {
    /// It is scoped to the tenant.
    Scoped(usize),
    /// It changes its tenant, and nobody misses it.
    Rested(usize),
    /// It changes its tenant, who is frequent and used it a moment ago.
    Busy(usize),
    /// As before, but another request of the same tenant is at work, whose connection may be back in a moment.
    Soon(usize, Arc<Notify>),
    /// None is idle.
    None,
}

impl Cell {
    pub(super) fn new(config: &AccessConfig) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.cell_connections.max(1))),
            tenants: HashMap::new(),
            clock: 0,
            idle: Vec::new(),
            live: 0,
            returned: Arc::default(),
        }
    }

    /// Which idle connection serves a tenant.
    pub(super) fn choose(&self, tenant: TenantId, mode: AccessMode, now: Instant) -> Choice {
        if self.idle.is_empty() {
            return Choice::None;
        }
        // Behind a pooler no session is anybody's.
        if mode == AccessMode::Pooler {
            return Choice::Rested(self.idle.len() - 1);
        }
        if let Some(at) = self.idle.iter().rposition(|idle| idle.rest.bound == Some(tenant)) {
            return Choice::Scoped(at);
        }
        let share = self.tenants.get(&tenant);
        let frequent = share.is_some_and(|share| share.part.is_frequent(self.clock));
        let at = spare(self.idle.iter().map(|idle| &idle.rest), frequent, self.clock, now);
        match (at, share.filter(|share| share.at_work > 0)) {
            (at, Some(share)) => Choice::Soon(at.unwrap_or(0), Arc::clone(&share.returned)),
            (Some(at), None) => Choice::Rested(at),
            (None, None) => Choice::Busy(0),
        }
    }

    /// A tenant is given a connection.
    pub(super) fn serve(&mut self, tenant: TenantId) {
        self.clock += 1;
        if let Some(share) = self.tenants.get_mut(&tenant) {
            share.part.add(self.clock);
            share.at_work += 1;
        }
    }

    /// A connection that was given to a tenant is back, or gone.
    pub(super) fn done(&mut self, tenant: TenantId) {
        if let Some(share) = self.tenants.get_mut(&tenant) {
            share.at_work = share.at_work.saturating_sub(1);
            share.returned.notify_waiters();
        }
        self.returned.notify_waiters();
    }

    /// Forgets an idle connection if the server has closed it, and says whether it has.
    pub(super) fn bury_dead(&mut self, at: usize) -> bool {
        let dead = self.idle.get_mut(at).is_some_and(|idle| idle.connection.wire.is_closed());
        if dead {
            self.idle.remove(at);
            self.live -= 1;
        }
        dead
    }

    pub(super) fn take(&mut self, at: usize) -> Box<Connection> {
        self.idle.remove(at).connection
    }

    pub(super) fn put(&mut self, connection: Box<Connection>, since: Instant) {
        let part = self.tenants.get(&connection.serves).map_or_else(Part::default, |share| share.part);
        let rest = Rest { since, bound: connection.bound, part, number: connection.number };
        self.idle.push(Idle { rest, connection });
    }
}

/// Which of the idle connections, in the order of their use, changes its tenant; none while all serve frequent ones. One that is
/// to be a frequent tenant's own is taken from where it has rested for longest; the others keep to those opened first.
fn spare<'a>(idle: impl Iterator<Item = &'a Rest>, frequent: bool, clock: u64, now: Instant) -> Option<usize> {
    idle.enumerate()
        .filter_map(|(at, rest)| {
            let owned = rest.bound.is_some() && rest.part.is_frequent(clock);
            let free = !owned || now.duration_since(rest.since) >= RESTED;
            free.then_some((owned, if frequent { 0 } else { rest.number }, at))
        })
        .min()
        .map(|(_, _, at)| at)
}

/// A tenant's part in its cell's requests: how many of the last ones were its own, the older counting less.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    weight: f32,
    /// The cell's count of requests then.
    at: u64,
}

impl Part {
    fn weight(self, clock: u64) -> f32 {
        let age = u16::try_from(clock.saturating_sub(self.at)).unwrap_or(u16::MAX);
        self.weight * (-f32::from(age) / HALF_LIFE).exp2()
    }

    fn add(&mut self, clock: u64) {
        *self = Self { weight: self.weight(clock) + 1.0, at: clock };
    }

    fn is_frequent(self, clock: u64) -> bool {
        self.weight(clock) >= FREQUENT
    }
}

impl State {
    /// The cell that a tenant's request has made sure of.
    pub(super) fn cell(&mut self, id: CellId) -> &mut Cell {
        self.cells.get_mut(&id).expect("a cell stays while a request waits in it")
    }

    /// The queues a request stands in: its tenant's and its cell's.
    pub(super) fn queues(&mut self, tenant: &Tenant, config: &AccessConfig) -> (Arc<Semaphore>, Arc<Semaphore>) {
        if self.queues > self.sweep_at.max(SWEEP_FROM) {
            self.sweep();
        }
        let cell = self.cells.entry(tenant.cell).or_insert_with(|| Cell::new(config));
        let share = cell.tenants.entry(tenant.id).or_insert_with(|| {
            self.queues += 1;
            let permits = Arc::new(Semaphore::new(config.tenant_connections.max(1)));
            Share { permits, part: Part::default(), at_work: 0, returned: Arc::default() }
        });
        (Arc::clone(&share.permits), Arc::clone(&cell.permits))
    }

    pub(super) fn idle(&self) -> usize {
        self.cells.values().map(|cell| cell.idle.len()).sum()
    }

    /// A connection that was given to a tenant is gone.
    pub(super) fn forget(&mut self, cell: CellId, tenant: TenantId) {
        self.live -= 1;
        if let Some(cell) = self.cells.get_mut(&cell) {
            cell.live -= 1;
            cell.done(tenant);
        }
    }

    pub(super) fn close_idle(&mut self) {
        for cell in self.cells.values_mut() {
            cell.live -= cell.idle.len();
            self.live -= cell.idle.len();
            cell.idle.clear();
        }
    }

    /// Removes the queues nobody stands in and the cells nobody uses: a process would otherwise remember every tenant it ever
    /// served. Whoever holds or awaits a permit holds its queue too, so a queue held by the map alone is unused.
    fn sweep(&mut self) {
        let unused = |queue: &Arc<Semaphore>| Arc::strong_count(queue) == 1;
        self.cells.retain(|_, cell| {
            // Who asks often is remembered, or the frequent could not be told from the rare. Those are fewer than 185.
            let (clock, live) = (cell.clock, cell.live > 0);
            let often = |share: &Share| live && share.part.weight(clock) > 1.0;
            cell.tenants.retain(|_, share| !unused(&share.permits) || often(share));
            cell.live > 0 || !cell.tenants.is_empty() || !unused(&cell.permits)
        });
        self.queues = self.cells.values().map(|cell| cell.tenants.len()).sum();
        // Twice what is in use, so that the cost of looking at all is spread over as many newcomers.
        self.sweep_at = self.queues * 2;
    }

    /// Whether another cell could spare a connection.
    pub(super) fn has_rested(&self, but: CellId, now: Instant) -> bool {
        let rested = |idle: &Idle| now.duration_since(idle.rest.since) >= RESTED;
        let spare = |(id, cell): (&CellId, &Cell)| *id != but && cell.live > 1 && cell.idle.first().is_some_and(rested);
        self.cells.iter().any(spare)
    }

    /// Closes the connection that has been idle for longest; a cell's only one last.
    pub(super) fn evict(&mut self) -> Option<Box<Connection>> {
        let oldest =
            |(id, cell): (&CellId, &Cell)| cell.idle.first().map(|idle| (cell.live == 1, idle.rest.since, *id));
        let (_, _, id) = self.cells.iter().filter_map(oldest).min()?;
        let cell = self.cells.get_mut(&id)?;
        cell.live -= 1;
        self.live -= 1;
        Some(cell.take(0))
    }
}

#[cfg(test)]
#[path = "cells_tests.rs"]
mod tests;
