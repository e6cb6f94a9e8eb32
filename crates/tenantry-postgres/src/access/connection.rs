use std::collections::HashSet;
use std::num::NonZeroUsize;

use lru::LruCache;
use tenantry_core::TenantId;
use tokio_postgres::{Client, Statement as Prepared};

use crate::CellId;
use crate::config::{AccessConfig, AccessMode};
use crate::registry::Tenant;
use crate::statement::Statement;

use super::heat::Heat;

/// A connection of a cell's login, with what we know of its session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) cell: CellId,
    /// The tenant the session is scoped to. None: the session is the bare login, which sees nothing.
    pub(super) bound: Option<TenantId>,
    /// A statement that was not vetted ran, so anything may be left in the session.
    pub(super) tainted: bool,
    /// Tenants served since it was opened: what its backend has in its caches.
    pub(super) touched: HashSet<TenantId>,
    /// How hot the tenant was that it served last.
    pub(super) heat: Heat,
    /// It served its tenant once, in passing, and is the first to serve another.
    pub(super) passing: bool,
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
    pub(super) fn new(client: Client, cell: CellId, config: &AccessConfig) -> Self {
        let capacity = NonZeroUsize::new(config.statement_cache).unwrap_or(NonZeroUsize::MIN);
        Self {
            client,
            cell,
            bound: None,
            tainted: false,
            touched: HashSet::new(),
            heat: Heat::COLD,
            passing: false,
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
        if config.mode == AccessMode::Pooler {
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
/// and not two, because each costs an answer, a wake-up and a switch between processes: with two, changing the
/// tenant took a third longer.
///
/// Vetted statements leave nothing but the role and, at most, settings; whatever else could be left taints
/// the connection and is discarded when it is released.
pub(super) fn bind_session(tenant: &Tenant, config: &AccessConfig) -> String {
    #[cfg(feature = "negative-controls")]
    let (reset, role) = (config.defences.reset, config.defences.role);
    #[cfg(not(feature = "negative-controls"))]
    let (reset, role) = (true, true);
    let _ = config;
    let mut bind = String::with_capacity(160);
    bind.push_str(if reset { "BEGIN;RESET ROLE;RESET ALL;COMMIT" } else { "BEGIN;RESET ROLE;COMMIT" });
    for (name, value) in [("statement_timeout", tenant.statement_timeout), ("lock_timeout", tenant.lock_timeout)] {
        if let Some(limit) = value {
            bind.push_str(&format!(";SET {name} = {}", limit.as_millis()));
        }
    }
    if role && !tenant.dedicated {
        bind.push_str(";SET ROLE ");
        bind.push_str(&tenant.role().quoted());
    }
    bind
}

/// The message that opens a transaction scoped to a tenant on a server connection that is not ours (pooler mode).
pub(super) fn begin_scoped(tenant: &Tenant, config: &AccessConfig, read_only: bool) -> String {
    let mut sql = String::with_capacity(192);
    sql.push_str(if read_only { "BEGIN READ ONLY;" } else { "BEGIN;" });
    #[cfg(feature = "negative-controls")]
    let (path, role) = (config.defences.path, config.defences.role);
    #[cfg(not(feature = "negative-controls"))]
    let (path, role) = (true, true);
    if role && !tenant.dedicated {
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
/// so that a temporary table never shadows a real one.
pub(super) fn startup_options(config: &AccessConfig) -> String {
    let mut options = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=60000 -c jit=off",
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
