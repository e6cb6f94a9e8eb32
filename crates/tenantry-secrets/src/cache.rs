//! Data keys in memory: for a bounded time, in a bounded number.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use lru::LruCache;
use tenantry_core::{Clock, TenantId};

use crate::envelope::Sealer;

const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Which key of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// The one that seals.
    Current(TenantId),
    /// The one of a version.
    Version(TenantId, i32),
}

/// A key, and when it was loaded.
type Entry = (Arc<Sealer>, DateTime<Utc>);

pub(crate) struct Cache {
    entries: Mutex<LruCache<Slot, Entry>>,
    ttl: TimeDelta,
    clock: Arc<dyn Clock>,
}

impl Cache {
    pub(crate) fn new(ttl: TimeDelta, clock: Arc<dyn Clock>) -> Self {
        Self { entries: Mutex::new(LruCache::new(CAPACITY)), ttl, clock }
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<Arc<Sealer>> {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (sealer, loaded_at) = entries.get(&slot)?;
        // A clock that was set back makes an entry look young; one from the future is not trusted.
        if *loaded_at <= now && now < *loaded_at + self.ttl {
            return Some(Arc::clone(sealer));
        }
        entries.pop(&slot);
        None
    }

    pub(crate) fn put(&self, slot: Slot, sealer: &Arc<Sealer>) {
        let now = self.clock.now();
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).put(slot, (Arc::clone(sealer), now));
    }

    pub(crate) fn forget(&self, slot: Slot) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).pop(&slot);
    }

    /// Drops what is too old, so that keys do not stay in memory only because nobody asks for them.
    pub(crate) fn sweep(&self) {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<Slot> =
            entries.iter().filter(|(_, (_, at))| *at > now || now >= *at + self.ttl).map(|(slot, _)| *slot).collect();
        for slot in old {
            entries.pop(&slot);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use tenantry_core::ManualClock;

    use super::*;
    use crate::DataKey;

    #[test]
    fn a_key_is_kept_for_its_time_only() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let cache = Cache::new(TimeDelta::seconds(60), clock.clone());
        let slot = Slot::Current(TenantId::generate());
        let sealer = Arc::new(Sealer::new(&DataKey::generate(), 1).unwrap());
        cache.put(slot, &sealer);
        clock.advance(TimeDelta::seconds(59));
        assert!(cache.get(slot).is_some());
        clock.advance(TimeDelta::seconds(1));
        assert!(cache.get(slot).is_none());
        cache.put(slot, &sealer);
        clock.advance(TimeDelta::seconds(-1));
        assert!(cache.get(slot).is_none(), "a clock set back does not make it younger");
        cache.put(slot, &sealer);
        clock.advance(TimeDelta::seconds(60));
        cache.sweep();
        assert_eq!(cache.len(), 0, "nobody needs to ask for an old key");
        assert_eq!(Arc::strong_count(&sealer), 1, "the cache holds no other copy");
    }
}
