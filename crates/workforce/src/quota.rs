//! What a company may use, and how much of it is used.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_postgres::Limits;
use utoipa::ToSchema;

/// What is counted, by the name of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Live agents.
    Agents,
    /// Tasks created in a calendar month, deleted ones included.
    Tasks,
    /// Tasks in progress.
    ConcurrentTasks,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Agents, Self::Tasks, Self::ConcurrentTasks];

    /// The name of its counter, which is its type in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Tasks => "tasks",
            Self::ConcurrentTasks => "concurrent_tasks",
        }
    }

    /// The plan's member that limits it.
    #[must_use]
    pub const fn limit_name(self) -> &'static str {
        match self {
            Self::Agents => "max_agents",
            Self::Tasks => "max_tasks_per_month",
            Self::ConcurrentTasks => "max_concurrent_tasks",
        }
    }

    /// How much of it there may be; `None` is unlimited.
    #[must_use]
    pub fn limit(self, limits: &Limits) -> Option<i64> {
        let limit = match self {
            Self::Agents => limits.max_agents,
            Self::Tasks => limits.max_tasks_per_month,
            Self::ConcurrentTasks => limits.max_concurrent_tasks,
        };
        limit.map(i64::from)
    }
}

/// What is counted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Live agents.
    pub agents: i64,
    /// Tasks created this month.
    pub tasks: i64,
    /// Tasks in progress.
    pub concurrent_tasks: i64,
    /// When the next month begins.
    pub month_ends: DateTime<Utc>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

impl Counted {
    /// Of one quota.
    #[must_use]
    pub const fn of(&self, quota: Quota) -> i64 {
        match quota {
            Quota::Agents => self.agents,
            Quota::Tasks => self.tasks,
            Quota::ConcurrentTasks => self.concurrent_tasks,
        }
    }
}

/// How much of one limit is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"limit_name": "max_agents", "limit": 20, "used": 13, "percent": 65.0, "resets_at": null}))]
pub struct Used {
    /// The plan's member that limits it, as errors name it.
    pub limit_name: Cow<'static, str>,
    /// How much there may be; null is unlimited.
    pub limit: Option<i64>,
    /// How much there is.
    pub used: i64,
    /// Of the limit, with one decimal; null where there is none.
    pub percent: Option<f64>,
    /// When `used` begins anew by itself; null where it does not.
    pub resets_at: Option<DateTime<Utc>>,
}

impl Used {
    /// Of a limit.
    #[must_use]
    pub fn new(limit_name: &'static str, limit: Option<i64>, used: i64) -> Self {
        Self {
            limit_name: limit_name.into(),
            limit,
            used,
            percent: limit.map(|limit| percent(used, limit)),
            resets_at: None,
        }
    }
}

/// With one decimal, rounded down: 100 is said only of a limit that is reached. Nothing is all of nothing.
#[must_use]
pub fn percent(used: i64, limit: i64) -> f64 {
    if limit <= 0 {
        return 100.0;
    }
    let tenths = i128::from(used) * 1000 / i128::from(limit);
    i32::try_from(tenths).map_or(f64::from(i32::MAX), f64::from) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_do_not_promise_too_much() {
        assert_eq!(percent(13, 20), 65.0);
        assert_eq!(percent(1999, 2000), 99.9);
        assert_eq!(percent(3, 2), 150.0);
        assert_eq!((percent(0, 0), percent(5, 0)), (100.0, 100.0));
        assert_eq!(percent(i64::MAX, 1), f64::from(i32::MAX) / 10.0);
    }
}
