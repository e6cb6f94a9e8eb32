use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenantry_core::TenantId;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::CellId;
use crate::config::{AccessConfig, AccessMode, DatabaseConfig};
use crate::connect::connect_wire;
use crate::error::{DbError, Exhausted};
use crate::registry::{Registry, Tenant};

use super::cells::{Cell, Choice, State};
use super::connection::{Connection, startup_options};

/// How long to wait for one of the cell's connections to come back before another cell's is closed to open one: that takes
/// longer than most transactions and starts with empty caches.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait for the tenant's own connection to come back before another tenant's is taken, which costs both of them a
/// change. Most statements take less.
const MOMENT: Duration = Duration::from_millis(2);
/// What is done after a request, for the next one, may take so long; then the connection is given up.
pub(super) const CLEANING: Duration = Duration::from_secs(5);

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
        let began = Instant::now();
        let connection = loop {
            let (returned, until) = match self.pick(tenant, began.elapsed()) {
                Pick::Idle(connection) => break connection,
                Pick::Open(slot) => break self.open(tenant, slot).await?,
                Pick::Wait(returned, patience) => (returned, began + patience),
            };
            // Whether one came or not, the next look decides.
            let _ = tokio::time::timeout_at(until, returned).await;
        };
        let counter = if connection.bound == Some(tenant.id) { &self.counters.affine } else { &self.counters.bound };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok((connection, permits))
    }

    async fn permits(&self, tenant: &Tenant) -> Result<Permits, DbError> {
        let (of_tenant, of_cell) = {
            let mut state = self.lock();
            state.queues(tenant, &self.config)
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

    /// Chooses a connection: one scoped to the tenant, else a new one where that serves better, else one that changes its
    /// tenant. Who has not waited for long waits where that is cheaper: for the tenant's own connection, and for one of the cell's
    /// where a new one would cost another cell its own.
    fn pick(&self, tenant: &Tenant, waited: Duration) -> Pick<'_> {
        let mut state = self.lock();
        let state = &mut *state;
        let now = Instant::now();
        let cell = state.cells.entry(tenant.cell).or_insert_with(|| Cell::new(&self.config));
        let choice = loop {
            match cell.choose(tenant.id, self.config.mode, now) {
                Choice::Scoped(at) | Choice::Rested(at) | Choice::Busy(at) | Choice::Soon(at, _)
                    if cell.bury_dead(at) =>
                {
                    state.live -= 1;
                }
                choice => break choice,
            }
        };
        let full = state.live >= self.config.max_connections;
        let room = cell.live < self.config.cell_connections;
        let (live, returned) = (cell.live, Arc::clone(&cell.returned));
        // Where its binding is in use, another connection serves both tenants, if there may be one.
        let better_opened = || room && (!full || state.has_rested(tenant.cell, now));
        match choice {
            Choice::Soon(_, returned) if waited < MOMENT => return Pick::Wait(returned.notified_owned(), MOMENT),
            Choice::Busy(_) | Choice::Soon(..) if better_opened() => {}
            Choice::Scoped(at) | Choice::Rested(at) | Choice::Busy(at) | Choice::Soon(at, _) => {
                let cell = state.cell(tenant.cell);
                cell.serve(tenant.id);
                let mut connection = cell.take(at);
                connection.serves = tenant.id;
                return Pick::Idle(connection);
            }
            Choice::None if full && live > 0 && waited < PATIENCE => {
                return Pick::Wait(returned.notified_owned(), PATIENCE);
            }
            Choice::None => {}
        }
        let cell = state.cell(tenant.cell);
        cell.serve(tenant.id);
        cell.live += 1;
        state.live += 1;
        // A process permit is held without a connection, so if all are live one of them is idle.
        if state.live > self.config.max_connections && state.evict().is_some() {
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        }
        Pick::Open(Slot { pool: self, cell: tenant.cell, tenant: tenant.id, used: false })
    }

    /// Drops a dead connection and keeps its place for the one that is opened instead: given up in between, the place could
    /// be taken, and there would be more connections than the limits allow.
    pub(super) fn bury(&self, dead: Box<Connection>) -> Slot<'_> {
        self.counters.discarded.fetch_add(1, Ordering::Relaxed);
        Slot { pool: self, cell: dead.cell, tenant: dead.serves, used: false }
    }

    pub(super) async fn open(&self, tenant: &Tenant, mut slot: Slot<'_>) -> Result<Box<Connection>, DbError> {
        let wire = if self.config.mode == AccessMode::Pooler {
            let address = self.database.pooler.as_ref().unwrap_or(&self.database.direct);
            connect_wire(&self.database, address, &tenant.login_role).await?
        } else {
            let mut direct = self.database.direct.clone();
            direct.postgres.options(startup_options(&self.config));
            connect_wire(&self.database, &direct, &tenant.login_role).await?
        };
        slot.used = true;
        let number = self.counters.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Connection::new(wire, tenant, number, &self.config)))
    }

    /// Takes back a connection whose session is scoped or clean, and nothing in between.
    pub(super) fn put_back(&self, mut connection: Box<Connection>) {
        connection.recycled = true;
        let worn = connection.touched.len() > self.config.tenants_per_connection;
        let mut state = self.lock();
        if state.closed || worn || connection.wire.is_closed() {
            state.forget(connection.cell, connection.serves);
            return;
        }
        if let Some(cell) = state.cells.get_mut(&connection.cell) {
            cell.done(connection.serves);
            cell.put(connection, Instant::now());
        }
    }

    /// Drops a connection whose state is not known.
    pub(super) fn discard(&self, connection: Box<Connection>) {
        self.counters.discarded.fetch_add(1, Ordering::Relaxed);
        self.lock().forget(connection.cell, connection.serves);
    }

    /// Asks the server to stop what a discarded connection still runs. Best effort: the statement timeout bounds what a
    /// lost cancel leaves running.
    pub(super) async fn cancel(&self, token: tokio_postgres::CancelToken) {
        super::cancel::cancel(&self.database, self.config.mode, &token).await;
    }

    pub(super) fn stats(&self) -> AccessStats {
        let state = self.lock();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AccessStats {
            live: state.live,
            idle: state.idle(),
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
        state.close_idle();
    }
}

enum Pick<'p> {
    Idle(Box<Connection>),
    Open(Slot<'p>),
    /// Made under the lock, so that what comes back from then on is heard.
    Wait(OwnedNotified, Duration),
}

/// The place reserved for a connection being opened; given up when opening fails or is cancelled.
pub(super) struct Slot<'p> {
    pool: &'p Pool,
    cell: CellId,
    tenant: TenantId,
    used: bool,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.pool.lock().forget(self.cell, self.tenant);
        }
    }
}
