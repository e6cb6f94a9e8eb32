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
use super::heat::Heat;

/// A tenant used this often within about a second is worth a connection of its own.
const WORTH_OPENING: f64 = 8.0;
/// So much hotter must a tenant be to take a connection from another.
const HOTTER: f64 = 2.0;
/// A connection idle for so long may go to a busy tenant of another cell.
const LEFT_ALONE: f64 = 1.0;
/// How long to wait for one of the cell's connections to come back before another cell's is closed for a new one, which takes
/// longer than most transactions and starts with empty caches.
const PATIENCE: Duration = Duration::from_millis(50);

/// Connections to cells, bounded per tenant, per cell and per process.
///
/// Three permits are taken in this order: the tenant's, the cell's, the process's. Each queue is first
/// come, first served. A tenant's share is smaller than its cell's, so a flood waits in its own queue
/// while neighbours pass; a cell's is smaller than the process's, so a cell cannot take it all.
#[derive(Debug)]
pub(super) struct Pool {
    database: DatabaseConfig,
    pub(super) config: AccessConfig,
    pub(super) registry: Registry,
    process: Arc<Semaphore>,
    started: Instant,
    state: Mutex<State>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    cells: BTreeMap<CellId, Cell>,
    live: usize,
    closed: bool,
}

#[derive(Debug)]
struct Cell {
    permits: Arc<Semaphore>,
    tenants: HashMap<TenantId, Share>,
    /// Least recently used first.
    idle: Vec<Idle>,
    live: usize,
    /// Checkouts that wait for a connection to come back, and what wakes them.
    waiting: usize,
    returned: Arc<Semaphore>,
}

/// A tenant's part in its cell.
#[derive(Debug)]
struct Share {
    permits: Arc<Semaphore>,
    heat: Heat,
}

#[derive(Debug)]
struct Idle {
    since: f64,
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
        Self {
            database,
            config,
            registry,
            process,
            started: Instant::now(),
            state: Mutex::default(),
            counters: Counters::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for a tenant, scoped to it already where one is to be had.
    pub(super) async fn checkout(&self, tenant: &Tenant) -> Result<(Box<Connection>, Permits), DbError> {
        let permits = self.permits(tenant).await?;
        let mut patient = true;
        let connection = loop {
            match self.pick(tenant, patient) {
                Pick::Idle(connection) => break connection,
                Pick::Open(slot, heat) => break self.open(tenant, slot, heat).await?,
                // The signal may be an old one, so it is only a reason to look again.
                Pick::Wait(returned) => match tokio::time::timeout(PATIENCE, returned.acquire()).await {
                    Ok(Ok(signal)) => signal.forget(),
                    _ => patient = false,
                },
            }
        };
        let counter = if connection.bound == Some(tenant.id) { &self.counters.affine } else { &self.counters.bound };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok((connection, permits))
    }

    async fn permits(&self, tenant: &Tenant) -> Result<Permits, DbError> {
        let (of_tenant, of_cell) = {
            let mut state = self.lock();
            let cell = state.cells.entry(tenant.cell).or_insert_with(|| Cell::new(&self.config));
            let share = cell.tenants.entry(tenant.id).or_insert_with(|| Share {
                permits: Arc::new(Semaphore::new(self.config.tenant_connections.max(1))),
                heat: Heat::COLD,
            });
            (Arc::clone(&share.permits), Arc::clone(&cell.permits))
        };
        let mut deadline = None;
        let tenant = self.permit(of_tenant, &mut deadline, Exhausted::Tenant).await?;
        let cell = self.permit(of_cell, &mut deadline, Exhausted::Cell).await?;
        let process = self.permit(Arc::clone(&self.process), &mut deadline, Exhausted::Process).await?;
        Ok(Permits { _tenant: tenant, _cell: cell, _process: process })
    }

    async fn permit(
        &self,
        of: Arc<Semaphore>,
        deadline: &mut Option<Instant>,
        limit: Exhausted,
    ) -> Result<OwnedSemaphorePermit, DbError> {
        if let Ok(permit) = Arc::clone(&of).try_acquire_owned() {
            return Ok(permit);
        }
        let deadline = deadline.get_or_insert_with(|| Instant::now() + self.config.acquire_timeout);
        match tokio::time::timeout_at(*deadline, of.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                self.counters.exhausted.fetch_add(1, Ordering::Relaxed);
                Err(DbError::Exhausted { limit, waited: self.config.acquire_timeout })
            }
        }
    }

    /// Chooses a connection: one scoped to the tenant, else a new one if the tenant is hot and there is room, else an idle
    /// one that changes its tenant. A tenant takes the connection of a colder one; one that is colder than all of
    /// them takes the connection that the last such tenant had, so that the rare do not displace the frequent.
    fn pick(&self, tenant: &Tenant, patient: bool) -> Pick<'_> {
        let now = self.now();
        let mut state = self.lock();
        let state = &mut *state;
        let room = state.live < self.config.max_connections;
        let left_alone =
            || state.cells.values().any(|c| c.live > 1 && c.idle_since().is_some_and(|s| s + LEFT_ALONE < now));
        let hot = |heat: Heat| heat.uses(now) >= WORTH_OPENING;
        let may_steal = !room
            && state.cells.get(&tenant.cell).is_some_and(|cell| {
                cell.live < self.config.cell_connections
                    && cell.bound_to(tenant.id).is_none()
                    && cell.tenants.get(&tenant.id).is_some_and(|share| hot(share.heat))
            })
            && left_alone();
        let cell = state.cells.entry(tenant.cell).or_insert_with(|| Cell::new(&self.config));
        let heat = cell.tenants.get_mut(&tenant.id).map_or(Heat::COLD, |share| {
            share.heat = share.heat.used(now);
            share.heat
        });
        let mut lost = 0;
        let picked = loop {
            let grow = cell.live - lost < self.config.cell_connections && (room || may_steal) && hot(heat);
            let Some(at) = cell.choose(tenant.id, heat, grow) else { break None };
            let mut connection = cell.idle.remove(at).connection;
            if connection.client.is_closed() {
                lost += 1;
                continue;
            }
            connection.passing = connection.bound != Some(tenant.id) && !heat.exceeds(connection.heat, HOTTER);
            connection.heat = heat;
            break Some(connection);
        };
        cell.live -= lost;
        state.live -= lost;
        if let Some(connection) = picked {
            return Pick::Idle(connection);
        }
        let full = state.live >= self.config.max_connections;
        if full && cell.live > 0 && cell.idle.is_empty() && patient {
            cell.waiting += 1;
            return Pick::Wait(Arc::clone(&cell.returned));
        }
        cell.live += 1;
        state.live += 1;
        // A process permit is held without a connection, so if all are live one of them is idle.
        let victim = if state.live > self.config.max_connections { state.evict() } else { None };
        if victim.is_some() {
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        }
        Pick::Open(Slot { pool: self, cell: tenant.cell, used: false }, heat)
    }

    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    async fn open(&self, tenant: &Tenant, mut slot: Slot<'_>, heat: Heat) -> Result<Box<Connection>, DbError> {
        let client = if self.config.mode == AccessMode::Pooler {
            connect_cell(&self.database, &tenant.login_role).await?
        } else {
            let mut base = self.database.postgres.clone();
            base.options(startup_options(&self.config));
            connect_with(&self.database, &base, &tenant.login_role, |_| {}).await?
        };
        slot.used = true;
        self.counters.opened.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection::new(client, tenant.cell, &self.config);
        connection.heat = heat;
        Ok(Box::new(connection))
    }

    /// Takes back a connection whose session is scoped or clean, and nothing in between.
    pub(super) fn put_back(&self, connection: Box<Connection>) {
        let worn = connection.touched.len() > self.config.tenants_per_connection;
        let since = self.now();
        let mut state = self.lock();
        if state.closed || worn || connection.client.is_closed() {
            state.forget(connection.cell);
            return;
        }
        if let Some(cell) = state.cells.get_mut(&connection.cell) {
            cell.idle.push(Idle { since, connection });
            cell.wake();
        }
    }

    /// Drops a connection whose state is not known.
    pub(super) fn discard(&self, connection: Box<Connection>) {
        self.counters.discarded.fetch_add(1, Ordering::Relaxed);
        self.lock().forget(connection.cell);
    }

    /// Asks the server to stop what a discarded connection still runs.
    pub(super) async fn cancel(&self, token: tokio_postgres::CancelToken) {
        // Best effort: the statement timeout bounds what a lost cancel leaves running.
        let _ = if self.database.tls {
            match crate::connect::rustls_connector() {
                Ok(tls) => token.cancel_query(tls).await,
                Err(_) => return,
            }
        } else {
            token.cancel_query(tokio_postgres::NoTls).await
        };
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
            waiting: 0,
            returned: Arc::new(Semaphore::new(0)),
        }
    }

    /// Since when its least recently used connection is idle.
    fn idle_since(&self) -> Option<f64> {
        self.idle.first().map(|idle| idle.since)
    }

    fn bound_to(&self, tenant: TenantId) -> Option<usize> {
        self.idle.iter().rposition(|idle| idle.connection.bound == Some(tenant))
    }

    /// The idle connection for a tenant; none when there is none, or when `grow` says that a new one is better than
    /// taking it from another tenant.
    fn choose(&self, tenant: TenantId, heat: Heat, grow: bool) -> Option<usize> {
        if let Some(at) = self.bound_to(tenant) {
            return Some(at);
        }
        if grow {
            return None;
        }
        let heat_at = |at: &usize| self.idle[*at].connection.heat;
        let coldest = (0..self.idle.len()).reduce(|a, b| if heat_at(&b) < heat_at(&a) { b } else { a })?;
        if heat.exceeds(heat_at(&coldest), HOTTER) {
            return Some(coldest);
        }
        Some(self.idle.iter().rposition(|idle| idle.connection.passing).unwrap_or(coldest))
    }

    /// Tells one that waits that a connection came back or went away.
    fn wake(&mut self) {
        if self.waiting > 0 {
            self.waiting -= 1;
            self.returned.add_permits(1);
        }
    }
}

impl State {
    fn forget(&mut self, cell: CellId) {
        self.live -= 1;
        if let Some(cell) = self.cells.get_mut(&cell) {
            cell.live -= 1;
            cell.wake();
        }
    }

    /// Closes the connection that has been idle for longest, of a cell that keeps another one if there is such a cell: a new
    /// connection is slow to open and starts with empty caches.
    fn evict(&mut self) -> Option<Box<Connection>> {
        let (_, id, _) = self
            .cells
            .iter()
            .filter_map(|(id, cell)| cell.idle_since().map(|since| (cell.live == 1, *id, since)))
            .min_by(|(last_a, _, a), (last_b, _, b)| last_a.cmp(last_b).then(a.total_cmp(b)))?;
        let cell = self.cells.get_mut(&id)?;
        let victim = cell.idle.remove(0);
        cell.live -= 1;
        self.live -= 1;
        Some(victim.connection)
    }
}

enum Pick<'p> {
    Idle(Box<Connection>),
    Open(Slot<'p>, Heat),
    Wait(Arc<Semaphore>),
}

/// The place reserved for a connection being opened; given up when opening fails or is cancelled.
struct Slot<'p> {
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
