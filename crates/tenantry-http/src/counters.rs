//! Counters of what was refused, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts refusals since the process started.
#[derive(Debug, Default)]
pub struct SecurityCounters {
    cross_tenant_attempts: AtomicU64,
    unauthorized: AtomicU64,
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

    pub(crate) fn count_cross_tenant_attempt(&self) {
        self.cross_tenant_attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unauthorized(&self) {
        self.unauthorized.fetch_add(1, Ordering::Relaxed);
    }
}
