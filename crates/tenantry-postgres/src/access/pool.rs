use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenantry_core::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::CellId;
use crate::config::{AccessConfig, AccessMode, DatabaseConfig};
use crate::connect::{connect_cell, connect_with};
use crate::error::{DbError, Exhausted};
use crate::registry::{Registry, Tenant};

use super::connection::{Connection, startup_options};

/// What is done after a request, for the next one, may take so long; then the connection is given up.
pub(super) const CLEANING: Duration = Duration::from_secs(5);
/// Below so many queues of tenants nobody looks for unused ones.
const SWEEP_FROM: usize = 256;

/// Connections to cells, bounded per tenant, per cell and per process.
///
/// Three permits are taken in this order: the tenant's, the cell's, the process's. Each queue is first
/// come, first served. A tenant's share is smaller than its cell's, so a flood waits in its own queue
/// while neighbours pass; a cell's is smaller than the process's, so a cell cannot take it all.
///
/// Invariants, kept under one lock: `live` counts the connections open, being opened or in use; each in use or being
/// opened is covered by permits, so whoever holds permits either finds room or an idle connection to close. A place in
/// `live` is given up before the permits that cover it.
#[derive(Debug)]
pub(super) struct Pool {
    database: DatabaseConfig,
    pub(super) config: AccessConfig,
    pub(super) registry: Registry,
    process: Arc<Semaphore>,
    state: Mutex<State>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    cells: BTreeMap<CellId, Cell>,
    live: usize,
    clock: u64,
    closed: bool,
    /// How many tenants have a queue, and at how many the unused ones are removed next.
    queues: usize,
    sweep_at: usize,
}

#[derive(Debug)]
struct Cell {
    permits: Arc<Semaphore>,
    tenants: HashMap<TenantId, Arc<Semaphore>>,
    /// Least recently used first.
    idle: Vec<Idle>,
    live: usize,
}

#[derive(Debug)]
struct Idle {
    since: u64,
    connection: Box<Connection>,
}

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    bound: AtomicU64,
    affine: AtomicU64,
    evicted: AtomicU64,
    discarded: AtomicU64,
    exhausted: AtomicU64,
}

/// A picture of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessStats {
    /// Open connections.
    pub live: usize,
    /// Open connections that nobody uses.
    pub idle: usize,
    /// Connections opened since the start.
    pub opened: u64,
    /// Checkouts that found a connection already scoped to the tenant.
    pub affine: u64,
    /// Checkouts that had to scope a connection anew.
    pub bound: u64,
    /// Idle connections closed to make room for another cell.
    pub evicted: u64,
    /// Connections closed because of an error or a cancelled request.
    pub discarded: u64,
    /// Checkouts refused because a limit held for too long.
    pub exhausted: u64,
}

/// The permits of one checkout; given back when dropped.
#[derive(Debug)]
pub(super) struct Permits {
    _tenant: OwnedSemaphorePermit,
    _cell: OwnedSemaphorePermit,
    _process: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(database: DatabaseConfig, config: AccessConfig, registry: Registry) -> Self {
        let process = Arc::new(Semaphore::new(config.max_connections.max(1)));
        Self { database, config, registry, process, state: Mutex::default(), counters: Counters::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for a tenant, scoped to it already where one is to be had.
    pub(super) async fn checkout(&self, tenant: &Tenant) -> Result<(Box<Connection>, Permits), DbError> {
        let permits = self.permits(tenant).await?;
        let connection = match self.pick(tenant) {
            Pick::Idle(connection) => connection,
            Pick::Open(slot) => self.open(tenant, slot).await?,
        };
        let counter = if connection.bound == Some(tenant.id) { &self.counters.affine } else { &self.counters.bound };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok((connection, permits))
    }

    async fn permits(&self, tenant: &Tenant) -> Result<Permits, DbError> {
        let (of_tenant, of_cell) = {
            let mut state = self.lock();
            if state.queues > state.sweep_at.max(SWEEP_FROM) {
                state.sweep();
            }
            let State { cells, queues, .. } = &mut *state;
            let cell = cells.entry(tenant.cell).or_insert_with(|| Cell::new(&self.config));
            let share = cell.tenants.entry(tenant.id).or_insert_with(|| {
                *queues += 1;
                Arc::new(Semaphore::new(self.config.tenant_connections.max(1)))
            });
            (Arc::clone(share), Arc::clone(&cell.permits))
        };
        let deadline = Instant::now() + self.config.acquire_timeout;
        let tenant = self.permit(of_tenant, deadline, Exhausted::Tenant).await?;
        let cell = self.permit(of_cell, deadline, Exhausted::Cell).await?;
        let process = self.permit(Arc::clone(&self.process), deadline, Exhausted::Process).await?;
        Ok(Permits { _tenant: tenant, _cell: cell, _process: process })
    }

    async fn permit(
        &self,
        of: Arc<Semaphore>,
        deadline: Instant,
        limit: Exhausted,
    ) -> Result<OwnedSemaphorePermit, DbError> {
        if let Ok(permit) = Arc::clone(&of).try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout_at(deadline, of.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                self.counters.exhausted.fetch_add(1, Ordering::Relaxed);
                Err(DbError::Exhausted { limit, waited: self.config.acquire_timeout })
            }
        }
    }

    /// Chooses among a cell's idle connections: one scoped to the tenant, else a new one while the cell
    /// has room, else one that knows the tenant, else the one idle for longest.
    fn pick(&self, tenant: &Tenant) -> Pick<'_> {
        let mut state = self.lock();
        let room = state.live < self.config.max_connections;
        let cell = state.cells.entry(tenant.cell).or_insert_with(|| Cell::new(&self.config));
        let before = cell.idle.len();
        cell.idle.retain(|idle| !idle.connection.client.is_closed());
        let lost = before - cell.idle.len();
        cell.live -= lost;
        let grow = cell.live < self.config.cell_connections && room;
        let bound = cell.idle.iter().rposition(|i| i.connection.bound == Some(tenant.id));
        let known = || cell.idle.iter().rposition(|i| i.connection.touched.contains(&tenant.id));
        let chosen = match bound {
            Some(at) => Some(at),
            None if grow => None,
            None => known().or(if cell.idle.is_empty() { None } else { Some(0) }),
        };
        let picked = chosen.map(|at| cell.idle.remove(at).connection);
        if picked.is_none() {
            cell.live += 1;
        }
        state.live -= lost;
        match picked {
            Some(connection) => Pick::Idle(connection),
            None => {
                state.live += 1;
                // A process permit is held without a connection, so if all are live one of them is idle.
                let victim = if state.live > self.config.max_connections { state.evict() } else { None };
                drop(state);
                if victim.is_some() {
                    self.counters.evicted.fetch_add(1, Ordering::Relaxed);
                }
                Pick::Open(Slot { pool: self, cell: tenant.cell, used: false })
            }
        }
    }

    /// Drops a dead connection and keeps its place for the one that is opened instead: given up in between, the place could
    /// be taken, and there would be more connections than the limits allow.
    pub(super) fn bury(&self, dead: Box<Connection>) -> Slot<'_> {
        self.counters.discarded.fetch_add(1, Ordering::Relaxed);
        Slot { pool: self, cell: dead.cell, used: false }
    }

    pub(super) async fn open(&self, tenant: &Tenant, mut slot: Slot<'_>) -> Result<Box<Connection>, DbError> {
        let client = if self.config.mode == AccessMode::Pooler {
            connect_cell(&self.database, &tenant.login_role).await?
        } else {
            let mut base = self.database.postgres.clone();
            base.options(startup_options(&self.config));
            connect_with(&self.database, &base, &tenant.login_role, |_| {}).await?
        };
        slot.used = true;
        self.counters.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Connection::new(client, tenant.cell, &self.config)))
    }

    /// Takes back a connection whose session is scoped or clean, and nothing in between.
    pub(super) fn put_back(&self, mut connection: Box<Connection>) {
        connection.recycled = true;
        let worn = connection.touched.len() > self.config.tenants_per_connection;
        let mut state = self.lock();
        if state.closed || worn || connection.client.is_closed() {
            state.forget(connection.cell);
            return;
        }
        state.clock += 1;
        let since = state.clock;
        if let Some(cell) = state.cells.get_mut(&connection.cell) {
            cell.idle.push(Idle { since, connection });
        }
    }

    /// Drops a connection whose state is not known.
    pub(super) fn discard(&self, connection: Box<Connection>) {
        self.counters.discarded.fetch_add(1, Ordering::Relaxed);
        self.lock().forget(connection.cell);
    }

    /// Asks the server to stop what a discarded connection still runs. Best effort: the statement timeout bounds what a
    /// lost cancel leaves running.
    pub(super) async fn cancel(&self, token: tokio_postgres::CancelToken) {
        let ask = async {
            if !self.database.tls {
                return token.cancel_query(tokio_postgres::NoTls).await.is_ok();
            }
            match crate::connect::rustls_connector() {
                Ok(tls) => token.cancel_query(tls).await.is_ok(),
                Err(_) => false,
            }
        };
        if !tokio::time::timeout(CLEANING, ask).await.unwrap_or(false) {
            tracing::debug!("an abandoned statement could not be cancelled");
        }
    }

    pub(super) fn stats(&self) -> AccessStats {
        let state = self.lock();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AccessStats {
            live: state.live,
            idle: state.cells.values().map(|c| c.idle.len()).sum(),
            opened: read(&self.counters.opened),
            affine: read(&self.counters.affine),
            bound: read(&self.counters.bound),
            evicted: read(&self.counters.evicted),
            discarded: read(&self.counters.discarded),
            exhausted: read(&self.counters.exhausted),
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let mut closed = 0;
        for cell in state.cells.values_mut() {
            closed += cell.idle.len();
            cell.live -= cell.idle.len();
            cell.idle.clear();
        }
        state.live -= closed;
    }
}

impl Cell {
    fn new(config: &AccessConfig) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.cell_connections.max(1))),
            tenants: HashMap::new(),
            idle: Vec::new(),
            live: 0,
        }
    }
}

impl State {
    fn forget(&mut self, cell: CellId) {
        self.live -= 1;
        if let Some(cell) = self.cells.get_mut(&cell) {
            cell.live -= 1;
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

    /// Closes the connection that has been idle for longest, in whichever cell.
    fn evict(&mut self) -> Option<Box<Connection>> {
        let (id, _) = self
            .cells
            .iter()
            .filter_map(|(id, c)| c.idle.first().map(|i| (*id, i.since)))
            .min_by_key(|(_, since)| *since)?;
        let cell = self.cells.get_mut(&id)?;
        let victim = cell.idle.remove(0);
        cell.live -= 1;
        self.live -= 1;
        Some(victim.connection)
    }
}

enum Pick<'p> {
    Idle(Box<Connection>),
    Open(Slot<'p>),
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;

/// The place reserved for a connection being opened; given up when opening fails or is cancelled.
pub(super) struct Slot<'p> {
    pool: &'p Pool,
    cell: CellId,
    used: bool,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.pool.lock().forget(self.cell);
        }
    }
}
