//! Buckets in the process's own memory.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::rate::{Bucket, Buckets, Met};

/// Requests of different tenants seldom wait for each other's lock.
const SHARDS: usize = 16;

/// When each bucket is full again, in microseconds. Bounded: the one that nobody asked for longest is forgotten, which is a full one
/// as long as fewer than that many are in use within a minute.
pub(crate) struct Local<K: Hash + Eq> {
    shards: Vec<Mutex<LruCache<K, i64>>>,
    hasher: RandomState,
}

impl<K: Hash + Eq> Local<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        let each = NonZeroUsize::new(capacity.div_ceil(SHARDS)).unwrap_or(NonZeroUsize::MIN);
        let shards = (0..SHARDS).map(|_| Mutex::new(LruCache::new(each))).collect();
        Self { shards, hasher: RandomState::new() }
    }

    /// The shard of whatever has this hash; a tenant's own bucket and those of its keys are in one, so that they change together.
    pub(crate) fn shard(&self, of: &impl Hash) -> MutexGuard<'_, LruCache<K, i64>> {
        let hash = self.hasher.hash_one(of);
        let at = usize::try_from(hash % 16).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local<Bucket> {
    /// Counts a request.
    pub(crate) fn take(&self, buckets: &Buckets, now: i64) -> Met {
        let mut shard = self.shard(&buckets.tenant);
        let met = buckets.meet(|bucket| shard.get(&bucket).map_or(0, |full_at| full_at - now));
        if met.allows() {
            for (bucket, verdict) in met.of.iter().flatten() {
                shard.put(*bucket, now + verdict.ahead);
            }
        }
        met
    }

    /// Takes over what was counted elsewhere.
    pub(crate) fn note(&self, buckets: &Buckets, met: &Met, now: i64) {
        let mut shard = self.shard(&buckets.tenant);
        for (bucket, verdict) in met.of.iter().flatten() {
            shard.put(*bucket, now + verdict.ahead);
        }
    }
}
