use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How sums are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollupSettings {
    /// Whether this server makes sums. Any number of servers may. Default: true.
    pub enabled: bool,
    /// How often to look for hours with new calls. Default: 1 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub interval: Duration,
    /// How long an hour's new calls are gathered before its sums are made: an hour that gets calls all the time is summed once in this time. Default: 5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub debounce: Duration,
}

impl Default for RollupSettings {
    fn default() -> Self {
        Self { enabled: true, interval: Duration::from_secs(1), debounce: Duration::from_secs(5) }
    }
}
