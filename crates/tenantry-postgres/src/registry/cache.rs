use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use tenantry_core::{Role, Slug, TenantId};
use tokio::sync::OnceCell;

use super::context::Tenant;
use super::load::{KeyRow, OperatorRow};
use crate::config::RegistryConfig;
use crate::error::{AccessError, DbError};

/// Everything one process remembers of the registry.
pub(super) struct Cache {
    pub(super) tenants: Map<TenantId, Arc<Tenant>>,
    /// Where a name led when it was looked up. A hint: whoever follows it compares with the tenant's row, so that a change
    /// of one tenant need not search all names.
    pub(super) slugs: Map<Slug, TenantId>,
    pub(super) domains: Map<String, TenantId>,
    pub(super) keys: Map<String, Arc<KeyRow>>,
    pub(super) operators: Map<String, Arc<OperatorRow>>,
    /// What a subject may do for a tenant.
    pub(super) members: Map<(TenantId, String), Role>,
    hearing: Arc<Hearing>,
    changes: AtomicU64,
}

impl Cache {
    pub(super) fn new(config: &RegistryConfig) -> Self {
        let hearing = Arc::new(Hearing::new(config.stale_after));
        let capacity = config.capacity;
        Self {
            tenants: Map::new(capacity, &hearing),
            slugs: Map::new(capacity, &hearing),
            domains: Map::new(capacity, &hearing),
            keys: Map::new(capacity, &hearing),
            operators: Map::new(capacity, &hearing),
            members: Map::new(capacity, &hearing),
            hearing,
            changes: AtomicU64::new(0),
        }
    }

    /// How often something was forgotten.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn hears(&self) -> bool {
        self.hearing.hears()
    }

    /// The listener proved that it heard everything up to this moment.
    pub(super) fn heard(&self, at: Instant) {
        self.hearing.heard(at);
    }

    /// The listener lost its connection: from now on nothing old is trusted.
    pub(super) fn deaf(&self) {
        self.hearing.deaf();
    }

    /// Forgets what a notification names.
    pub(super) fn invalidate(&self, what: &str) {
        let (kind, name) = what.split_once(':').unwrap_or((what, ""));
        match (kind, name.parse::<TenantId>()) {
            ("tenant", Ok(id)) => {
                self.tenants.forget(&id);
                // A name that was missing may have appeared with the row.
                self.slugs.forget_missing();
                self.domains.forget_missing();
            }
            ("key", _) => self.keys.forget(name),
            ("operator", _) => self.operators.forget(name),
            ("member", _) => match name.split_once(':').map(|(id, subject)| (id.parse(), subject)) {
                Some((Ok(id), subject)) => self.members.forget(&(id, subject.to_owned())),
                _ => self.members.clear(),
            },
            _ => self.clear(),
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn clear(&self) {
        self.tenants.clear();
        self.slugs.clear();
        self.domains.clear();
        self.keys.clear();
        self.operators.clear();
        self.members.clear();
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// When the listener last proved that it hears.
pub(super) struct Hearing {
    started: Instant,
    stale_after: Duration,
    /// Microseconds after `started`; 0 is never.
    heard_at: AtomicU64,
}

impl Hearing {
    fn new(stale_after: Duration) -> Self {
        Self { started: Instant::now(), stale_after, heard_at: AtomicU64::new(0) }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }

    fn hears(&self) -> bool {
        let heard = self.heard_at.load(Ordering::Acquire);
        let now = self.micros(Instant::now());
        heard != 0 && Duration::from_micros(now.saturating_sub(heard)) < self.stale_after
    }

    fn heard(&self, at: Instant) {
        self.heard_at.store(self.micros(at).max(1), Ordering::Release);
    }

    fn deaf(&self) {
        self.heard_at.store(0, Ordering::Release);
    }
}

/// One kind of entry. What is not there is remembered too, for a short time only, so that guessing
/// costs the database little and a new name is seen soon.
///
/// Readers of a key that is not remembered wait for one reading of it, and get its answer or its error. A reading that
/// an invalidation overtook is not remembered, and whoever comes after the invalidation starts a new one.
pub(super) struct Map<K: Hash + Eq, V> {
    state: Mutex<State<K, V>>,
    hearing: Arc<Hearing>,
}

struct State<K: Hash + Eq, V> {
    entries: LruCache<K, Entry<V>>,
    readings: HashMap<K, Arc<Reading<V>>>,
    /// Counts the moments after which a name that was missing may be there.
    appeared: u64,
}

struct Entry<V> {
    value: Option<V>,
    loaded: Instant,
    appeared: u64,
}

/// A look into the database that is under way.
struct Reading<V> {
    answer: OnceCell<Result<Option<V>, String>>,
    started: Instant,
    appeared: u64,
}

/// Somebody waiting for a reading. The last to give up takes the reading along: nobody would finish it.
struct Waiter<'m, K: Hash + Eq, V> {
    map: &'m Map<K, V>,
    key: &'m K,
    reading: Arc<Reading<V>>,
}

impl<K: Hash + Eq, V> Drop for Waiter<'_, K, V> {
    fn drop(&mut self) {
        let mut state = self.map.lock();
        let listed = state.readings.get(self.key).is_some_and(|r| Arc::ptr_eq(r, &self.reading));
        if listed && Arc::strong_count(&self.reading) == 2 {
            state.readings.remove(self.key);
        }
    }
}

const REMEMBER_MISSING: Duration = Duration::from_secs(2);

impl<K: Hash + Eq, V> Map<K, V> {
    fn new(capacity: usize, hearing: &Arc<Hearing>) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        let state = State { entries: LruCache::new(capacity), readings: HashMap::new(), appeared: 0 };
        Self { state: Mutex::new(state), hearing: Arc::clone(hearing) }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut state = self.lock();
        state.readings.remove(key);
        state.entries.pop(key);
    }

    fn forget_missing(&self) {
        self.lock().appeared += 1;
    }

    fn clear(&self) {
        let mut state = self.lock();
        state.readings.clear();
        state.entries.clear();
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Map<K, V> {
    pub(super) async fn get_or_load<F>(&self, key: K, load: impl FnOnce() -> F) -> Result<Option<V>, AccessError>
    where
        F: Future<Output = Result<Option<V>, DbError>>,
    {
        let reading = match self.remembered(&key) {
            Ok(value) => return Ok(value),
            Err(reading) => reading,
        };
        let waiter = Waiter { map: self, key: &key, reading };
        let answer =
            waiter.reading.answer.get_or_init(|| async { load().await.map_err(|e| e.to_string()) }).await.clone();
        let mut state = self.lock();
        if state.readings.get(&key).is_some_and(|r| Arc::ptr_eq(r, &waiter.reading)) {
            state.readings.remove(&key);
            if let Ok(value) = &answer {
                let Reading { started, appeared, .. } = *waiter.reading;
                state.entries.put(key.clone(), Entry { value: value.clone(), loaded: started, appeared });
            }
        }
        drop(state);
        answer.map_err(AccessError::Stale)
    }

    /// What is known and trusted, or the reading to wait for.
    fn remembered(&self, key: &K) -> Result<Option<V>, Arc<Reading<V>>> {
        let hears = self.hearing.hears();
        let mut state = self.lock();
        let appeared = state.appeared;
        if let Some(entry) = state.entries.get(key) {
            let age = entry.loaded.elapsed();
            let trusted = hears || age < self.hearing.stale_after;
            if trusted && (entry.value.is_some() || (age < REMEMBER_MISSING && entry.appeared == appeared)) {
                return Ok(entry.value.clone());
            }
        }
        let fresh = |r: &Reading<V>| r.appeared == appeared && r.started.elapsed() < self.hearing.stale_after;
        if let Some(reading) = state.readings.get(key).filter(|r| fresh(r)) {
            return Err(Arc::clone(reading));
        }
        let reading = Arc::new(Reading { answer: OnceCell::new(), started: Instant::now(), appeared });
        state.readings.insert(key.clone(), Arc::clone(&reading));
        Err(reading)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
