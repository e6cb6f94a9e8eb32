use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::source::Scope;

/// What happens in a run, as it happens. In JSON, `event` names the kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step of the registry's or analytics' set was applied.
    Applied {
        /// The set.
        scope: Scope,
        /// Number and name.
        migration: String,
    },
    /// The run begins.
    Started {
        /// Its number in the ledger.
        run: i64,
        /// `up` or `down`.
        direction: &'static str,
        /// The version it leads to.
        target: i32,
        /// Tenants to do.
        tenants: usize,
    },
    /// A wave begins.
    Wave {
        /// From 1.
        number: usize,
        /// `canary`, a share such as `10 %`, or `late` for tenants that appeared meanwhile.
        name: String,
        /// Tenants in it.
        tenants: usize,
    },
    /// A tenant is where it should be.
    Migrated {
        /// The tenant.
        slug: String,
        /// From this version.
        from: i32,
        /// To this one.
        to: i32,
        /// How long it took, with what was waited for.
        duration_ms: u64,
        /// Tries it needed.
        attempts: u32,
    },
    /// A step was not possible now and is tried again.
    Retry {
        /// The tenant.
        slug: String,
        /// The try that failed.
        attempt: u32,
        /// The SQLSTATE, where the server gave one.
        sqlstate: Option<String>,
        /// Why.
        error: String,
        /// Until then.
        wait_ms: u64,
    },
    /// A tenant could not be migrated; it is as it was after its last complete step.
    Failed(Failure),
    /// A tenant was left out.
    Skipped {
        /// The tenant.
        slug: String,
        /// Why.
        reason: String,
    },
    /// The window is closed.
    Paused {
        /// When it opens.
        until: DateTime<Utc>,
    },
    /// The window is open again.
    Resumed,
    /// The end.
    Finished(Report),
}

/// A tenant that could not be migrated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The tenant.
    pub slug: String,
    /// The step that failed, as number and name.
    pub migration: String,
    /// The version the tenant is at.
    pub at: i32,
    /// Tries.
    pub attempts: u32,
    /// The SQLSTATE, where the server gave one.
    pub sqlstate: Option<String>,
    /// Why.
    pub error: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
pub enum Outcome {
    /// Every tenant was where it should be already.
    Nothing,
    /// Every tenant is where it should be.
    Done,
    /// All were tried, some failed.
    Failed,
    /// The stop rule ended it.
    Stopped(String),
    /// It was asked to end.
    Interrupted,
}

impl Outcome {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped(_) => "stopped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its number in the ledger; none when there was nothing to do.
    pub run: Option<i64>,
    /// `up` or `down`.
    pub direction: &'static str,
    /// The version it led to.
    pub target: i32,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Tenants migrated.
    pub migrated: usize,
    /// Tenants left out.
    pub skipped: usize,
    /// Tenants not tried.
    pub remaining: usize,
    /// Tenants that failed.
    pub failed: Vec<Failure>,
    /// How long it took.
    pub duration_ms: u64,
}

/// Where events go.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// To a function, which must not block.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::to(|_| {})
    }

    pub(super) fn send(&self, event: Event) {
        (self.0)(event);
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
