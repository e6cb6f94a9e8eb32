//! What the pool knows of its cells, and which idle connection serves a tenant best.
//!
//! Changing a connection's tenant costs more than most statements, and a backend's memory grows with every tenant that it
//! has ever served. So a tenant has *homes*: of the connections of its cell the two that rank highest for it, by a hash of
//! tenant and connection. A tenant thus returns to few backends, whose plans and caches know it; each backend
//! serves its share of the cell only; and a connection that comes or goes moves no more tenants than it must.
//!
//! A tenant in frequent use deserves a connection for itself, wherever it is: one that was served more recently than the
//! connection that has rested longest takes that one. So the frequent displace the rare, and the rare meet in their homes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
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
/// So long a tenant is remembered that nobody asks for.
const REMEMBERED: Duration = Duration::from_secs(10);
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
    /// Least recently used first.
    idle: Vec<Idle>,
    pub(super) live: usize,
    /// Told when a connection is back or gone.
    pub(super) returned: Arc<Notify>,
}

/// A tenant's part in its cell.
#[derive(Debug)]
struct Share {
    permits: Arc<Semaphore>,
    /// When it was given a connection last.
    served: Option<Instant>,
    /// Connections at work for it.
    at_work: usize,
    /// Told when one of them is back or gone.
    returned: Arc<Notify>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Box<Connection>,
}

/// Which of a cell's idle connections serves a tenant.
#[derive(Debug)]
pub(super) enum Choice {
    /// It is scoped to the tenant.
    Scoped(usize),
    /// It changes its tenant, and nobody misses it, or the tenant is too rare for one of its own.
    Rested(usize),
    /// It changes its tenant, who used it a moment ago.
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
            idle: Vec::new(),
            live: 0,
            returned: Arc::default(),
        }
    }

    /// Forgets idle connections that the server has closed, and says how many.
    pub(super) fn bury_dead(&mut self) -> usize {
        let before = self.idle.len();
        self.idle.retain(|idle| !idle.connection.client.is_closed());
        let dead = before - self.idle.len();
        self.live -= dead;
        dead
    }

    pub(super) fn choose(&self, tenant: TenantId, mode: AccessMode, now: Instant) -> Choice {
        let Some(longest) = self.idle.first() else { return Choice::None };
        // Behind a pooler no session is anybody's.
        if mode == AccessMode::Pooler {
            return Choice::Rested(self.idle.len() - 1);
        }
        if let Some(at) = self.idle.iter().rposition(|idle| idle.connection.bound == Some(tenant)) {
            return Choice::Scoped(at);
        }
        if longest.connection.bound.is_none() || now.duration_since(longest.since) >= RESTED {
            return Choice::Rested(0);
        }
        let share = self.tenants.get(&tenant);
        let frequent = share.and_then(|share| share.served).is_some_and(|served| served > longest.since);
        let at = if frequent { 0 } else { self.home(tenant) };
        match share.filter(|share| share.at_work > 0) {
            Some(share) => Choice::Soon(at, Arc::clone(&share.returned)),
            None if frequent => Choice::Busy(at),
            // A connection of its own would serve it once and make all backends colder.
            None => Choice::Rested(at),
        }
    }

    /// A tenant is given a connection.
    pub(super) fn serve(&mut self, tenant: TenantId, now: Instant) {
        if let Some(share) = self.tenants.get_mut(&tenant) {
            share.served = Some(now);
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

    /// Of the tenant's two homes the one that has rested longer.
    fn home(&self, tenant: TenantId) -> usize {
        let mut homes: [Option<(u64, usize)>; 2] = [None; 2];
        for (at, idle) in self.idle.iter().enumerate() {
            let ranked = Some((rank(tenant, idle.connection.seed), at));
            if ranked > homes[0] {
                homes = [ranked, homes[0]];
            } else if ranked > homes[1] {
                homes[1] = ranked;
            }
        }
        // The list is in the order of use.
        homes.into_iter().flatten().map(|(_, at)| at).min().unwrap_or(0)
    }

    pub(super) fn take(&mut self, at: usize) -> Box<Connection> {
        self.idle.remove(at).connection
    }

    pub(super) fn put(&mut self, connection: Box<Connection>, since: Instant) {
        self.idle.push(Idle { since, connection });
    }
}

/// How well a connection suits a tenant: always the same for the two, and evenly spread over all.
fn rank(tenant: TenantId, seed: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((tenant, seed))
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
            Share { permits, served: None, at_work: 0, returned: Arc::default() }
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
        let now = Instant::now();
        let unused = |queue: &Arc<Semaphore>| Arc::strong_count(queue) == 1;
        // Who was served a moment ago is remembered, or the frequent could not be told from the rare.
        let recent = |share: &Share| share.served.is_some_and(|served| now.duration_since(served) < REMEMBERED);
        self.cells.retain(|_, cell| {
            cell.tenants.retain(|_, share| !unused(&share.permits) || recent(share));
            cell.live > 0 || !cell.tenants.is_empty() || !unused(&cell.permits)
        });
        self.queues = self.cells.values().map(|cell| cell.tenants.len()).sum();
        // Twice what is in use, so that the cost of looking at all is spread over as many newcomers.
        self.sweep_at = self.queues * 2;
    }

    /// Whether another cell could spare a connection.
    pub(super) fn has_rested(&self, but: CellId, now: Instant) -> bool {
        let rested = |idle: &Idle| now.duration_since(idle.since) >= RESTED;
        let spare = |(id, cell): (&CellId, &Cell)| *id != but && cell.live > 1 && cell.idle.first().is_some_and(rested);
        self.cells.iter().any(spare)
    }

    /// Closes the connection that has been idle for longest; a cell's only one last.
    pub(super) fn evict(&mut self) -> Option<Box<Connection>> {
        let oldest = |(id, cell): (&CellId, &Cell)| cell.idle.first().map(|idle| (cell.live == 1, idle.since, *id));
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
