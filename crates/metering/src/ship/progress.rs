use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::spool::SpoolState;
use crate::store::Booked;

/// After a failure was logged, the same is told again only so often.
const AGAIN: Duration = Duration::from_secs(60);

/// How the shipping goes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    shipped: u64,
    repeated: u64,
    purged: u64,
    adopted: u64,
    last_shipment: Duration,
    good: Instant,
    error: Option<String>,
    told: Option<Instant>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            shipped: 0,
            repeated: 0,
            purged: 0,
            adopted: 0,
            last_shipment: Duration::ZERO,
            good: Instant::now(),
            error: None,
            told: None,
        }
    }
}

impl Progress {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction of so many rows has committed.
    pub(super) fn committed(&self, booked: &Booked, rows: usize, took: Duration) {
        let mut inner = self.inner();
        inner.shipped += booked.new.len() as u64;
        inner.purged += booked.purged.len() as u64;
        inner.repeated += rows.saturating_sub(booked.new.len() + booked.purged.len()) as u64;
        inner.last_shipment = took;
    }

    /// A batch is where it belongs, or there was none.
    pub(super) fn good(&self) {
        let mut inner = self.inner();
        if inner.error.take().is_some() {
            tracing::info!(target: "tenantry::ship", "shipping goes on");
        }
        (inner.good, inner.told) = (Instant::now(), None);
    }

    pub(super) fn failed(&self, error: &str, waiting: u64) {
        let mut inner = self.inner();
        if inner.told.is_none_or(|told| told.elapsed() > AGAIN) {
            tracing::warn!(target: "tenantry::ship", error, waiting, "calls cannot be shipped: they wait on the disk");
            inner.told = Some(Instant::now());
        }
        inner.error = Some(error.to_owned());
    }

    pub(super) fn adopted(&self) {
        self.inner().adopted += 1;
    }

    /// Completes the state of the spool.
    pub(crate) fn complete(&self, state: SpoolState) -> SpoolState {
        let inner = self.inner();
        SpoolState {
            shipped: inner.shipped,
            repeated: inner.repeated,
            purged: inner.purged,
            adopted: inner.adopted,
            last_shipment_seconds: inner.last_shipment.as_secs_f64(),
            lag_seconds: inner.good.elapsed().as_secs_f64(),
            last_error: inner.error.clone(),
            ..state
        }
    }
}
