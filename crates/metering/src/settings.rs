use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenantry_postgres::Retention;

use crate::budgets::BudgetSettings;
use crate::gateway::GatewaySettings;
use crate::reports::{AlertSettings, ReportSettings};
use crate::rollup::RollupSettings;
use crate::spool::SpoolOptions;
use crate::statements::StatementSettings;

/// How provider calls are metered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeteringSettings {
    /// Where calls are kept that the database has not taken yet, each server of this machine in a directory of its own. It must
    /// outlive the process. Environment: `TENANTRY_SPOOL_DIR`. Default: `spool` in the data directory.
    pub spool_dir: Option<PathBuf>,
    /// How large a server's files there may become. When they are, no call is taken that need not be. Default: 1 GiB.
    pub spool_max_bytes: u64,
    /// The size of one file; two of them are there from the start. Default: 16 MiB.
    pub spool_segment_bytes: u64,
    /// How long a call waits for others to be shipped with it. Default: 0.5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub ship_interval: Duration,
    /// How many calls are shipped before that time: often a little keeps calls from waiting for the processor that the database is on. Default: 128.
    pub ship_portion: usize,
    /// How many calls are shipped in one transaction at most, where more have gathered. Default: 4000.
    pub ship_batch: usize,
    /// A call that has not ended after so long is booked as unsettled; what it turns out to be later corrects that. Default: 3600 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub reap_after: Duration,
    /// How often the spool goes on in new files: so long at most stays what is shipped, or belongs to a tenant that was purged. Default: 86400 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub forget_interval: Duration,
    /// Days for which single calls are kept. A month goes when its last day is older. Calls are recorded so far back, and never further than 90
    /// days. Default: 90.
    pub keep_calls_days: u32,
    /// Days for which the sums of hours are kept. Default: 400.
    pub keep_hours_days: u32,
    /// Days for which the sums of days are kept. Default: 730.
    pub keep_days_days: u32,
    /// Budgets.
    pub budgets: BudgetSettings,
    /// Sums of hours and days.
    pub rollup: RollupSettings,
    /// What the operators are warned of.
    pub alerts: AlertSettings,
    /// What operators' reports cannot know by themselves.
    pub reports: ReportSettings,
    /// The tenants' monthly statements.
    pub statements: StatementSettings,
    /// The gateway that official clients call providers through.
    pub gateway: GatewaySettings,
}

impl Default for MeteringSettings {
    fn default() -> Self {
        Self {
            spool_dir: None,
            spool_max_bytes: 1 << 30,
            spool_segment_bytes: 16 << 20,
            ship_interval: Duration::from_millis(500),
            ship_portion: 128,
            ship_batch: 4000,
            reap_after: Duration::from_secs(3600),
            forget_interval: Duration::from_secs(86_400),
            keep_calls_days: 90,
            keep_hours_days: 400,
            keep_days_days: 730,
            budgets: BudgetSettings::default(),
            rollup: RollupSettings::default(),
            alerts: AlertSettings::default(),
            reports: ReportSettings::default(),
            statements: StatementSettings::default(),
            gateway: GatewaySettings::default(),
        }
    }
}

impl MeteringSettings {
    pub(crate) fn spool(&self) -> SpoolOptions {
        // Below this a record and the room for another would not fit.
        let segment_bytes = self.spool_segment_bytes.max(64 << 10);
        SpoolOptions {
            directory: self.spool_dir.clone().unwrap_or_else(|| PathBuf::from(".tenantry/spool")),
            max_bytes: self.spool_max_bytes.max(3 * segment_bytes),
            segment_bytes,
        }
    }

    pub(crate) const fn retention(&self) -> Retention {
        Retention { calls: self.keep_calls_days, hours: self.keep_hours_days, days: self.keep_days_days }
    }
}
