use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::TenantContext;

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(20_000).expect("it is not zero");

/// Who has entered which tenant from where, and when that was noted last: an audit event for every request would be a write
/// for every read.
pub(super) struct Entries {
    every: Duration,
    hasher: RandomState,
    noted: Mutex<LruCache<u64, Instant>>,
}

impl Entries {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, hasher: RandomState::new(), noted: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Whether it is time to note this entry, which then counts as noted.
    pub(super) fn is_due(&self, context: &TenantContext) -> bool {
        !self.every.is_zero() && self.is_due_at(self.key(context), Instant::now())
    }

    fn is_due_at(&self, key: u64, now: Instant) -> bool {
        let mut noted = self.lock();
        if noted.get(&key).is_some_and(|at| now.duration_since(*at) < self.every) {
            return false;
        }
        noted.put(key, now);
        true
    }

    /// It was not noted after all.
    pub(super) fn forget(&self, context: &TenantContext) {
        self.lock().pop(&self.key(context));
    }

    fn key(&self, context: &TenantContext) -> u64 {
        self.hasher.hash_one((context.id(), context.principal().subject(), context.client_ip()))
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<u64, Instant>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_noted_once_in_a_while() {
        let entries = Entries::new(Duration::from_secs(60));
        let now = Instant::now();
        assert!(entries.is_due_at(1, now) && entries.is_due_at(2, now));
        assert!(!entries.is_due_at(1, now + Duration::from_secs(59)));
        assert!(entries.is_due_at(1, now + Duration::from_secs(60)));
    }
}
