use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What the operators are warned of, in the log and in `GET /admin/v1/metering/health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// How often this server looks. 0: it warns of nothing. Default: 60 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub interval: Duration,
    /// Calls of the last 24 hours that were never seen to end, from which on it is warned. Default: 10.
    pub unsettled_calls: i64,
    /// Calls of the last 24 hours without a price, from which on it is warned. Default: 1.
    pub unpriced_calls: i64,
    /// How old the mark of an hour may become before its sums are made. Default: 300 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub rollup_lag: Duration,
    /// The least part of a provider's bill of a day that was captured. Default: 0.98.
    pub captured_at_least: Decimal,
    /// The least number of months that have their partitions in advance. Default: 1.
    pub partitions_ahead: i64,
    /// How long a call may wait in this server's spool for the database. Default: 60 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub spool_lag: Duration,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            unsettled_calls: 10,
            unpriced_calls: 1,
            rollup_lag: Duration::from_secs(300),
            captured_at_least: Decimal::new(98, 2),
            partitions_ahead: 1,
            spool_lag: Duration::from_secs(60),
        }
    }
}

/// What operators' reports cannot know by themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSettings {
    /// By how much, as a part of the bill, what was captured of a day may differ from the bill and still be called the same. Default: 0.01.
    pub tolerance: Decimal,
    /// What a tenant pays in a month, in US dollars, by plan: for margins. A plan that is not here has none.
    pub plan_prices: BTreeMap<String, Decimal>,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self { tolerance: Decimal::new(1, 2), plan_prices: BTreeMap::new() }
    }
}
