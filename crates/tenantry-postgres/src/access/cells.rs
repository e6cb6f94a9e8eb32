//! What the pool knows of its cells, and which idle connection serves a tenant best.
//!
//! Changing a connection's tenant costs more than most statements, and a backend's memory grows with every tenant that it
//! has ever served. So a tenant has *homes*: of the connections of its cell the two that rank highest for it, by a hash of
//! tenant and connection. A tenant thus returns to few backends, whose plans and caches know it; each backend
//! serves its share of the cell only; and a connection that comes or goes moves no more tenants than it must. With two homes,
//! two busy tenants that share one settle on the other without anybody deciding so.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use tenantry_core::TenantId;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::CellId;
use crate::config::AccessConfig;
use crate::registry::Tenant;

use super::connection::Connection;

/// A connection that rested for so long is not missed by the tenant it served last.
const RESTED: Duration = Duration::from_secs(1);
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
    tenants: HashMap<TenantId, Arc<Semaphore>>,
    /// Least recently used first.
    idle: Vec<Idle>,
    pub(super) live: usize,
    /// Told when a connection comes back.
    pub(super) returned: Arc<Notify>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Box<Connection>,
}

/// Which of a cell's idle connections serves a tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is scoped to the tenant.
    Scoped(usize),
    /// A home of the tenant that nobody misses.
    Home(usize),
    /// A home of the tenant whose own tenant used it a moment ago.
    Busy(usize),
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

    pub(super) fn choose(&self, tenant: TenantId, now: Instant) -> Choice {
        if let Some(at) = self.idle.iter().rposition(|idle| idle.connection.bound == Some(tenant)) {
            return Choice::Scoped(at);
        }
        let mut homes: [Option<(u64, usize)>; 2] = [None; 2];
        for (at, idle) in self.idle.iter().enumerate() {
            let ranked = Some((rank(tenant, idle.connection.seed), at));
            if ranked > homes[0] {
                homes = [ranked, homes[0]];
            } else if ranked > homes[1] {
                homes[1] = ranked;
            }
        }
        // The list is in the order of use, so the lower place has rested longer.
        let Some(at) = homes.into_iter().flatten().map(|(_, at)| at).min() else { return Choice::None };
        let idle = &self.idle[at];
        let missed = idle.connection.bound.is_some() && now.duration_since(idle.since) < RESTED;
        if missed { Choice::Busy(at) } else { Choice::Home(at) }
    }

    pub(super) fn take(&mut self, at: usize) -> Box<Connection> {
        self.idle.remove(at).connection
    }

    pub(super) fn put(&mut self, connection: Box<Connection>, since: Instant) {
        self.idle.push(Idle { since, connection });
        self.returned.notify_one();
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
            Arc::new(Semaphore::new(config.tenant_connections.max(1)))
        });
        (Arc::clone(share), Arc::clone(&cell.permits))
    }

    pub(super) fn idle(&self) -> usize {
        self.cells.values().map(|cell| cell.idle.len()).sum()
    }

    pub(super) fn forget(&mut self, cell: CellId) {
        self.live -= 1;
        if let Some(cell) = self.cells.get_mut(&cell) {
            cell.live -= 1;
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
            cell.tenants.retain(|_, queue| !unused(queue));
            cell.live > 0 || !cell.tenants.is_empty() || !unused(&cell.permits)
        });
        self.queues = self.cells.values().map(|cell| cell.tenants.len()).sum();
        // Twice what is in use, so that the cost of looking at all is spread over as many newcomers.
        self.sweep_at = self.queues * 2;
    }

    /// Whether some cell could spare a connection.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        let rested = |idle: &Idle| now.duration_since(idle.since) >= RESTED;
        self.cells.values().any(|cell| cell.live > 1 && cell.idle.first().is_some_and(rested))
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
