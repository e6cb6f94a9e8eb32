//! Counters of what was refused, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts refusals since the process started.
#[derive(Debug, Default)]
pub struct SecurityCounters {
    cross_tenant_attempts: AtomicU64,
    unauthorized: AtomicU64,
    rate_limited: AtomicU64,
    guesses_refused: AtomicU64,
    frozen_writes: AtomicU64,
}

impl SecurityCounters {
    /// Credentials used for another tenant, and statements that role or row level security refused.
    #[must_use]
    pub fn cross_tenant_attempts(&self) -> u64 {
        self.cross_tenant_attempts.load(Ordering::Relaxed)
    }

    /// Requests answered with 401.
    #[must_use]
    pub fn unauthorized(&self) -> u64 {
        self.unauthorized.load(Ordering::Relaxed)
    }

    /// Requests answered with 429 because their tenant or key had sent too many.
    #[must_use]
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited.load(Ordering::Relaxed)
    }

    /// Requests answered with 429 because too many credentials from their address had failed.
    #[must_use]
    pub fn guesses_refused(&self) -> u64 {
        self.guesses_refused.load(Ordering::Relaxed)
    }

    /// Writes answered with 402 because their tenant's storage is used up.
    #[must_use]
    pub fn frozen_writes(&self) -> u64 {
        self.frozen_writes.load(Ordering::Relaxed)
    }

    pub(crate) fn count_rate_limited(&self) {
        self.rate_limited.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_guess_refused(&self) {
        self.guesses_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_frozen_write(&self) {
        self.frozen_writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_cross_tenant_attempt(&self) {
        self.cross_tenant_attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unauthorized(&self) {
        self.unauthorized.fetch_add(1, Ordering::Relaxed);
    }
}
