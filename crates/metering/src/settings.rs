use serde::{Deserialize, Serialize};

use crate::rollup::RollupSettings;

/// How provider calls are metered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeteringSettings {
    /// Sums of hours and days.
    pub rollup: RollupSettings,
}
