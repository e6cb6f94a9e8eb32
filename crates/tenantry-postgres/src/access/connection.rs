use std::collections::HashSet;
use std::num::NonZeroUsize;

use lru::LruCache;
use tenantry_core::TenantId;
use tokio_postgres::Statement as Prepared;

use crate::CellId;
use crate::config::{AccessConfig, AccessMode};
use crate::registry::{Tenant, TimeLimits};
use crate::statement::Statement;
use crate::wire::Wire;

/// A connection of a cell's login, with what we know of its session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) cell: CellId,
    /// The how-manieth connection of the process it is: those opened first change tenants first.
    pub(super) number: u64,
    /// The tenant it was given to last, scoped or not yet.
    pub(super) serves: TenantId,
    /// The tenant the session is scoped to. None: the session is the bare login, which sees nothing.
    pub(super) bound: Option<TenantId>,
    /// The time limits the session was scoped with; an operator may have changed the tenant's since.
    pub(super) limits: TimeLimits,
    /// A statement that was not vetted ran, so anything may be left in the session.
    pub(super) tainted: bool,
    /// It lay idle before this use, so the server may have closed it without our knowing yet.
    pub(super) recycled: bool,
    /// Tenants served since it was opened: what its backend has in its caches.
    pub(super) touched: HashSet<TenantId>,
    statements: LruCache<(TenantId, usize), Seen>,
}

#[derive(Debug)]
enum Seen {
    Once,
    Prepared(Prepared),
}

/// How to send a statement.
pub(super) enum Way {
    /// Prepared on this connection.
    Prepared(Prepared),
    /// Seen before: worth preparing now.
    Prepare(String),
    /// First time: sent whole, in one round trip.
    Typed(String),
}

impl Connection {
    pub(super) fn new(wire: Wire, tenant: &Tenant, number: u64, config: &AccessConfig) -> Self {
        let capacity = NonZeroUsize::new(config.statement_cache).unwrap_or(NonZeroUsize::MIN);
        Self {
            wire,
            cell: tenant.cell,
            number,
            serves: tenant.id,
            bound: None,
            limits: TimeLimits::default(),
            tainted: false,
            recycled: false,
            touched: HashSet::new(),
            statements: LruCache::new(capacity),
        }
    }

    /// How to send `statement` for `tenant`, remembering that it was asked for.
    pub(super) fn way(&mut self, statement: &Statement, tenant: &Tenant, config: &AccessConfig) -> Way {
        let text = || {
            #[cfg(feature = "negative-controls")]
            if !config.defences.path {
                return statement.sql().replace("tenant.", "");
            }
            statement.for_schema(&tenant.schema)
        };
        if config.mode == AccessMode::Pooler || statement.is_planned_anew() {
            return Way::Typed(text());
        }
        let key = (tenant.id, statement.key());
        match self.statements.get(&key) {
            Some(Seen::Prepared(prepared)) => Way::Prepared(prepared.clone()),
            Some(Seen::Once) => Way::Prepare(text()),
            None => {
                self.statements.put(key, Seen::Once);
                Way::Typed(text())
            }
        }
    }

    pub(super) fn keep(&mut self, statement: &Statement, tenant: &Tenant, prepared: Prepared) {
        self.statements.put((tenant.id, statement.key()), Seen::Prepared(prepared));
    }

    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
    }
}

/// The message that scopes a session of our own to a tenant (direct mode).
///
/// It goes back to the bare login, which sees nothing, in a transaction of its own, and only then takes the tenant's role:
/// whatever follows a scope that cannot be taken (the tenant's role was just dropped) runs as nobody and never as the tenant
/// before. If even the way back fails, its transaction block stays open and broken, and nothing runs at all. One message
/// and not two, because each costs an answer, a wake-up and a switch between processes. `SET ROLE NONE` and not `RESET
/// ROLE`: the latter goes to the role that a stolen login may have written into its own `ALTER ROLE … SET role`.
///
/// Vetted statements leave nothing but the role and, at most, settings; whatever else could be left taints
/// the connection and is discarded when it is released.
pub(super) fn bind_session(tenant: &Tenant, config: &AccessConfig) -> String {
    #[cfg(feature = "negative-controls")]
    let (reset, role) = (config.defences.reset, config.defences.role);
    #[cfg(not(feature = "negative-controls"))]
    let (reset, role) = (true, true);
    let _ = config;
    let mut sql = String::with_capacity(160);
    sql.push_str(if reset { "BEGIN;SET ROLE NONE;RESET ALL;COMMIT" } else { "BEGIN;SET ROLE NONE;COMMIT" });
    for (name, value) in [("statement_timeout", tenant.statement_timeout), ("lock_timeout", tenant.lock_timeout)] {
        if let Some(limit) = value {
            sql.push_str(&format!(";SET {name} = {}", limit.as_millis()));
        }
    }
    if role && !tenant.dedicated {
        sql.push_str(";SET ROLE ");
        sql.push_str(&tenant.role().quoted());
    }
    sql
}

/// The message that opens a transaction scoped to a tenant on a server connection that is not ours (pooler mode).
///
/// Whoever had the connection before may have left anything in its session. So nothing is taken from there: the
/// transaction's own properties are spelled out, as they are fixed before a reset can help; `RESET ALL` takes settings
/// back to those of the login; what a login can change about itself for good is set once more. The role is taken in a
/// dedicated cell as well, where it is the login's own, since the session may stand in another.
pub(super) fn begin_scoped(tenant: &Tenant, config: &AccessConfig, modes: &str) -> String {
    #[cfg(feature = "negative-controls")]
    let (path, role, reset) = (config.defences.path, config.defences.role, config.defences.reset);
    #[cfg(not(feature = "negative-controls"))]
    let (path, role, reset) = (true, true, true);
    let mut sql = String::with_capacity(384);
    sql.push_str("BEGIN ISOLATION LEVEL ");
    sql.push_str(modes);
    sql.push(';');
    if reset {
        sql.push_str("RESET ALL;SET LOCAL row_security = on;");
    }
    if role {
        sql.push_str("SET LOCAL ROLE ");
        sql.push_str(&tenant.role().quoted());
        sql.push(';');
    }
    if path {
        sql.push_str("SET LOCAL search_path = pg_catalog, pg_temp;");
    }
    let statement = tenant.statement_timeout.unwrap_or(config.statement_timeout).as_millis();
    let lock = tenant.lock_timeout.unwrap_or(config.lock_timeout).as_millis();
    sql.push_str(&format!("SET LOCAL statement_timeout = {statement};SET LOCAL lock_timeout = {lock}"));
    sql
}

/// The settings every session of ours starts with; `RESET ALL` returns to them. `pg_temp` stands last,
/// so that a temporary table never shadows a real one. A random page costs what it does where tables are small and in memory, as
/// those of most tenants are: with PostgreSQL's own figure, made for disks that turn, one row by its key is found by reading all.
pub(super) fn startup_options(config: &AccessConfig) -> String {
    let mut options = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=60000 -c jit=off \
         -c random_page_cost=1.1 -c row_security=on -c default_transaction_read_only=off -c default_transaction_isolation=read\\ committed",
        config.statement_timeout.as_millis(),
        config.lock_timeout.as_millis(),
    );
    #[cfg(feature = "negative-controls")]
    let path = config.defences.path;
    #[cfg(not(feature = "negative-controls"))]
    let path = true;
    if path {
        options.push_str(" -c search_path=pg_catalog,pg_temp");
    }
    options
}
