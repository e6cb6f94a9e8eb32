use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_core::{Clock, TenantId};
use tenantry_postgres::{DatabaseConfig, DbError, MeterDb, MeterTx, TenantContext};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::keeper;
use super::settings::{BudgetSettings, Rule};
use super::tenant::{Key, Taken, Tenant, Wanted, Wish};
use crate::call::{Attribution, Call};
use crate::store::leases;

/// Connections for leases. They are the budgets' own: whoever waits for one is a request.
const LEASING: usize = 3;
/// How long a call waits for the database before it is refused.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a call asks again that others were faster than, before it gives up.
const ROUNDS: usize = 50;

/// Why a call is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// A budget is used up.
    #[error("the budget `{name}` of {} USD a {period} is used up", limit_usd.normalize())]
    Exhausted {
        /// Which.
        id: Uuid,
        /// What the tenant calls it.
        name: String,
        /// `day`, `week` or `month`.
        period: &'static str,
        /// Its limit.
        limit_usd: Decimal,
        /// What is spent of it, or held for calls under way, by all servers; a moment old.
        used_usd: Decimal,
        /// When the next period begins.
        resets_at: DateTime<Utc>,
    },
    /// The call has no price, and calls without one are not admitted under a budget.
    #[error("the model has no price, so the budget `{name}` cannot be kept")]
    Unpriced {
        /// What the tenant calls the budget.
        name: String,
    },
    /// The database cannot be asked, and nothing is held for this server.
    #[error("the budgets cannot be read now")]
    Unknown,
}

/// What a call may cost, held until it is known what it did. Dropped, it is given back.
pub struct Hold {
    held: Option<Held>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("amount", &self.held.as_ref().map(|held| held.amount)).finish_non_exhaustive()
    }
}

struct Held {
    inner: Arc<Inner>,
    tenant: Arc<Tenant>,
    keys: Vec<Key>,
    amount: Decimal,
}

impl Hold {
    const NOTHING: Self = Self { held: None };

    /// The call is in the spool as this: what it has cost stays spent here until it is shipped.
    ///
    /// It takes the call because shipping knows it by its id, which may overtake this.
    pub fn settle(mut self, call: &Call) {
        if let Some(Held { inner, tenant, keys, amount }) = self.held.take() {
            let overrun = tenant.state().settle(&keys, amount, call);
            // Others are to know of it now, not when more is asked for.
            if !overrun.is_empty() {
                inner.runs_low(tenant.id, &overrun);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(Held { tenant, keys, amount, .. }) = self.held.take() {
            tenant.state().release(&keys, amount);
        }
    }
}

/// The budgets of all tenants, as far as this server has to do with them. Cheap to clone. Each that is started has a server id of its
/// own, or that of a process that has ended, whose leases it takes up.
#[derive(Clone)]
pub struct Budgets {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) leasing: MeterDb,
    /// A connection for looks alone: they tell how old what is known here is.
    pub(super) looking: MeterDb,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: BudgetSettings,
    pub(super) server: Uuid,
    pub(super) started: Instant,
    pub(super) tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    /// Whether the budgets have been read at all.
    pub(super) loaded: watch::Sender<bool>,
    /// Changes are to be looked for now.
    pub(super) kick: Arc<Notify>,
    /// Leases run low.
    pub(super) low: Arc<Notify>,
    pub(super) lows: Mutex<HashMap<TenantId, HashSet<Key>>>,
    shipments_begun: AtomicU64,
    shipments_ended: AtomicU64,
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("server", &self.inner.server).finish_non_exhaustive()
    }
}

impl Budgets {
    /// Reads the budgets, and keeps them and this server's leases in order until the last clone is dropped. It needs a runtime.
    ///
    /// `server`: what the leases are held by. A process that goes on with the spool of one that was killed has its id, and takes its leases up.
    #[must_use]
    pub fn start(database: &DatabaseConfig, settings: &BudgetSettings, clock: Arc<dyn Clock>, server: Uuid) -> Self {
        let budgets = Self::idle(database, settings, clock, server);
        keeper::spawn(&budgets.inner);
        budgets
    }

    /// Knows nothing yet, and does nothing by itself.
    pub(super) fn idle(
        database: &DatabaseConfig,
        settings: &BudgetSettings,
        clock: Arc<dyn Clock>,
        server: Uuid,
    ) -> Self {
        let inner = Inner {
            leasing: MeterDb::new(database, LEASING),
            looking: MeterDb::new(database, 1),
            clock,
            settings: settings.clone(),
            server,
            started: Instant::now(),
            tenants: RwLock::default(),
            loaded: watch::Sender::new(false),
            kick: Arc::default(),
            low: Arc::default(),
            lows: Mutex::default(),
            shipments_begun: AtomicU64::new(0),
            shipments_ended: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Holds what a call may cost, in every hard budget that it counts in. `None`: nobody knows.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub async fn admit(
        &self,
        context: &TenantContext,
        attribution: &Attribution,
        at_most_usd: Option<Decimal>,
    ) -> Result<Hold, NotAdmitted> {
        let inner = &self.inner;
        if !*inner.loaded.borrow() {
            let mut loaded = inner.loaded.subscribe();
            let waited = tokio::time::timeout(PATIENCE, loaded.wait_for(|loaded| *loaded)).await;
            if waited.is_err() {
                return inner.unknown();
            }
        }
        let Some(tenant) = inner.tenant(context.id()) else { return Ok(Hold::NOTHING) };
        let zone = context.tenant().time_zone;
        for _ in 0..ROUNDS {
            let wanted = Wanted {
                attribution,
                amount: at_most_usd,
                now: inner.clock.now(),
                zone,
                at: Instant::now(),
                unpriced: inner.settings.unpriced_with_budget == Rule::Allow,
            };
            let waiting = {
                let mut state = tenant.state();
                match state.take(tenant.id, &wanted) {
                    Taken::Unlimited => return Ok(Hold::NOTHING),
                    Taken::Held { keys, refill } => {
                        drop(state);
                        if refill {
                            inner.runs_low(tenant.id, &keys);
                        }
                        let amount = at_most_usd.unwrap_or_default();
                        let inner = Arc::clone(inner);
                        return Ok(Hold { held: Some(Held { inner, tenant, keys, amount }) });
                    }
                    Taken::Exhausted(refused) => {
                        return Err(NotAdmitted::Exhausted {
                            id: refused.id,
                            name: refused.name,
                            period: refused.period.as_str(),
                            limit_usd: refused.limit_usd,
                            used_usd: refused.used_usd,
                            resets_at: refused.resets_at,
                        });
                    }
                    Taken::Unpriced(name) => return Err(NotAdmitted::Unpriced { name }),
                    Taken::Short(keys) => {
                        state.wait(&keys, at_most_usd, true);
                        drop(state);
                        Waiting { tenant: &tenant, keys, amount: at_most_usd }
                    }
                }
            };
            // A task of its own: the request may be given up at any moment, what was begun with the database may not.
            let resized =
                tokio::spawn(keeper::resize(Arc::clone(inner), Arc::clone(&tenant), Wish::More(waiting.keys.clone())));
            let resized = tokio::time::timeout(PATIENCE, resized).await;
            if !matches!(resized, Ok(Ok(Ok(())))) {
                return inner.unknown();
            }
        }
        inner.unknown()
    }

    /// In the transaction that writes calls which were not in the database before: takes what they cost off the leases that they were held
    /// in. So spent and leased together stay what they were.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn in_shipment(&self, tx: &MeterTx, new: &[Call]) -> Result<(), DbError> {
        self.inner.shipments_begun.fetch_add(1, Ordering::SeqCst);
        let mut off = Vec::new();
        for (tenant, calls) in self.inner.by_tenant(new) {
            tenant.state().taken_off(calls.into_iter(), &mut off);
        }
        let mut amounts: BTreeMap<Key, Decimal> = BTreeMap::new();
        for (key, amount) in off {
            *amounts.entry(key).or_default() += amount;
        }
        if amounts.is_empty() {
            return Ok(());
        }
        let amounts: Vec<(Key, Decimal)> = amounts.into_iter().collect();
        leases::lower(tx, self.inner.server, &amounts).await
    }

    /// These calls are in the database, whoever wrote them there: after the commit, before the spool forgets them. What they cost is spent
    /// here no more.
    pub fn shipped(&self, calls: &[Call]) {
        let begun = self.inner.shipments_begun.load(Ordering::SeqCst);
        for (tenant, calls) in self.inner.by_tenant(calls) {
            let mut state = tenant.state();
            for call in calls {
                state.shipped(call);
            }
        }
        self.inner.shipments_ended.fetch_max(begun, Ordering::SeqCst);
    }

    /// All that an earlier process of this server left in the spool is shipped: what is left of its leases can be spent.
    pub fn recovered(&self) {
        for tenant in self.inner.all() {
            tenant.state().recovered();
        }
    }

    /// A budget was changed here: what is known of them is made new at once. Other servers look for themselves.
    pub fn changed(&self) {
        self.inner.kick.notify_one();
    }

    /// Gives back what no call has, when a server stops. What is not shipped stays leased until it expires or the server starts again.
    pub async fn leave(&self) {
        for tenant in self.inner.all() {
            let left = keeper::resize(Arc::clone(&self.inner), tenant, Wish::Leave).await;
            if let Err(error) = left {
                tracing::warn!(target: "tenantry::budgets", %error, "leases are left to expire");
                return;
            }
        }
    }
}

/// What a call waits for, as long as it does.
struct Waiting<'a> {
    tenant: &'a Tenant,
    keys: Vec<Key>,
    amount: Option<Decimal>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.tenant.state().wait(&self.keys, self.amount, false);
    }
}

impl Inner {
    pub(super) fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Tenant>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Calls of tenants that have budgets.
    fn by_tenant<'c>(&self, calls: &'c [Call]) -> Vec<(Arc<Tenant>, Vec<&'c Call>)> {
        let mut found: BTreeMap<TenantId, (Option<Arc<Tenant>>, Vec<&'c Call>)> = BTreeMap::new();
        for call in calls {
            let (_, calls) = found.entry(call.tenant_id).or_insert_with(|| (self.tenant(call.tenant_id), Vec::new()));
            calls.push(call);
        }
        found.into_values().filter_map(|(tenant, calls)| Some((tenant?, calls))).collect()
    }

    /// How many shipments have begun, if all of them have ended.
    pub(super) fn quiet(&self) -> Option<u64> {
        let ended = self.shipments_ended.load(Ordering::SeqCst);
        (self.shipments_begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    fn runs_low(&self, tenant: TenantId, keys: &[Key]) {
        let mut lows = self.lows.lock().unwrap_or_else(PoisonError::into_inner);
        lows.entry(tenant).or_default().extend(keys);
        drop(lows);
        self.low.notify_one();
    }

    fn unknown(&self) -> Result<Hold, NotAdmitted> {
        match self.settings.when_unknown {
            Rule::Allow => Ok(Hold::NOTHING),
            Rule::Refuse => Err(NotAdmitted::Unknown),
        }
    }
}
