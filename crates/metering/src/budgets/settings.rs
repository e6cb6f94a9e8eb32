use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How budgets are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// How much of a budget's limit a server takes at a time, in percent, to admit calls from without asking the database. Near the
    /// limit it takes less. Default: 2.
    pub slice_percent: u8,
    /// How long a server that does not answer any more keeps what it has taken. While it does, nobody else can spend it; afterwards what
    /// the dead server spent and did not ship is missing from the reckoning until it is shipped. Default: 600 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub lease: Duration,
    /// How often changes of budgets are looked for: a new, raised or lowered limit holds on every server after this. Default: 0.5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub poll: Duration,
    /// What happens to a call that nobody knows the price of, where a hard budget holds: `allow` (it holds nothing, and counts when it is
    /// priced) or `refuse`. Default: `allow`.
    pub unpriced_with_budget: Rule,
    /// What happens to a call when the database is away and nothing that was taken is left: `refuse` (503) or `allow`, which gives the limit
    /// up until the database is back. Default: `refuse`.
    pub when_unknown: Rule,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It may.
    Allow,
    /// It may not.
    Refuse,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            slice_percent: 2,
            lease: Duration::from_secs(600),
            poll: Duration::from_millis(500),
            unpriced_with_budget: Rule::Allow,
            when_unknown: Rule::Refuse,
        }
    }
}
