use std::collections::HashSet;

use tenantry_core::TenantId;

use super::event::{Failure, Outcome};
use super::options::Options;

/// Tenants after which a share says something within a wave. At the end of a wave it always does.
const ENOUGH: usize = 20;

/// What a run has done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) migrated: usize,
    pub(super) skipped: usize,
    pub(super) failed: Vec<Failure>,
    pub(super) met: HashSet<TenantId>,
    /// Tenants that were not where they were when the run began; they have a second chance.
    pub(super) moved: HashSet<TenantId>,
    /// Why no other tenant is begun.
    pub(super) halt: Option<Outcome>,
}

impl Tally {
    pub(super) fn tried(&self) -> usize {
        self.migrated + self.failed.len()
    }

    /// Adds a failure and applies the stop rule.
    pub(super) fn fail(&mut self, failure: Failure, canary: bool, options: &Options) {
        let slug = failure.slug.clone();
        self.failed.push(failure);
        let failed = self.failed.len();
        if canary {
            self.stop(format!("the canary `{slug}` failed"));
        } else if failed >= usize::try_from(options.stop_failures).unwrap_or(usize::MAX) {
            self.stop(format!("{failed} tenants failed"));
        } else if self.tried() >= ENOUGH {
            self.check_share(options);
        }
    }

    /// The rule between two waves.
    pub(super) fn check_share(&mut self, options: &Options) {
        let (failed, tried) = (self.failed.len(), self.tried());
        if options.stop_share.is_exceeded(failed, tried) {
            self.stop(format!("{failed} of {tried} tenants failed, more than {}", options.stop_share));
        }
    }

    pub(super) fn stop(&mut self, reason: String) {
        self.halt.get_or_insert(Outcome::Stopped(reason));
    }
}
