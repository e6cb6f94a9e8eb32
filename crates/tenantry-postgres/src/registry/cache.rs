use std::borrow::Borrow;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use tenantry_core::{Slug, TenantId};

use super::context::Tenant;
use super::load::{KeyRow, OperatorRow};
use crate::config::RegistryConfig;
use crate::error::{AccessError, DbError};

/// Everything one process remembers of the registry.
pub(super) struct Cache {
    pub(super) tenants: Map<TenantId, Arc<Tenant>>,
    pub(super) slugs: Map<Slug, TenantId>,
    pub(super) domains: Map<String, TenantId>,
    pub(super) keys: Map<String, Arc<KeyRow>>,
    pub(super) operators: Map<String, Arc<OperatorRow>>,
    hearing: Arc<Hearing>,
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
            hearing,
        }
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
                // Names may have moved with the row, and a missing name may have appeared.
                self.slugs.forget_where(|found| found.is_none_or(|f| *f == id));
                self.domains.forget_where(|found| found.is_none_or(|f| *f == id));
            }
            ("key", _) => self.keys.forget(name),
            ("operator", _) => self.operators.forget(name),
            _ => self.clear(),
        }
    }

    pub(super) fn clear(&self) {
        self.tenants.forget_where(|_| true);
        self.slugs.forget_where(|_| true);
        self.domains.forget_where(|_| true);
        self.keys.forget_where(|_| true);
        self.operators.forget_where(|_| true);
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
pub(super) struct Map<K, V> {
    entries: Mutex<LruCache<K, Entry<V>>>,
    /// Counts invalidations: what was read before one must not be stored after it.
    epoch: AtomicU64,
    hearing: Arc<Hearing>,
}

struct Entry<V> {
    value: Option<V>,
    loaded: Instant,
}

const REMEMBER_MISSING: Duration = Duration::from_secs(2);

impl<K: Hash + Eq, V: Clone> Map<K, V> {
    fn new(capacity: usize, hearing: &Arc<Hearing>) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { entries: Mutex::new(LruCache::new(capacity)), epoch: AtomicU64::new(0), hearing: Arc::clone(hearing) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn get_or_load<F>(&self, key: K, load: impl FnOnce() -> F) -> Result<Option<V>, AccessError>
    where
        F: Future<Output = Result<Option<V>, DbError>>,
    {
        let hears = self.hearing.hears();
        if let Some(entry) = self.lock().get(&key) {
            let age = entry.loaded.elapsed();
            let trusted = hears || age < self.hearing.stale_after;
            if trusted && (entry.value.is_some() || age < REMEMBER_MISSING) {
                return Ok(entry.value.clone());
            }
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let loaded = Instant::now();
        let value = load().await.map_err(|e| AccessError::Stale(e.to_string()))?;
        let mut entries = self.lock();
        if self.epoch.load(Ordering::Acquire) == epoch {
            entries.put(key, Entry { value: value.clone(), loaded });
        }
        Ok(value)
    }

    fn forget<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut entries = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        entries.pop(key);
    }
}

impl<K: Hash + Eq + Clone, V> Map<K, V> {
    fn forget_where(&self, gone: impl Fn(Option<&V>) -> bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let keys: Vec<K> = entries.iter().filter(|(_, e)| gone(e.value.as_ref())).map(|(k, _)| k.clone()).collect();
        for key in keys {
            entries.pop(&key);
        }
    }
}
