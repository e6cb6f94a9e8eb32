use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The tenants' monthly statements.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatementSettings {
    /// Days after the end of a month, in the tenant's time zone, in which late calls are still of its statement. Default: 3.
    pub close_after_days: u16,
    /// How often this server looks for months to close. 0: it closes none. Default: 3600 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub close_interval: Duration,
    /// What a US dollar is in other currencies, by ISO 4217: statements say for information what they come to in the tenant's own.
    pub exchange_rates: BTreeMap<String, Decimal>,
}

impl Default for StatementSettings {
    fn default() -> Self {
        Self { close_after_days: 3, close_interval: Duration::from_secs(3600), exchange_rates: BTreeMap::new() }
    }
}
