use serde::{Deserialize, Serialize};

use crate::budgets::BudgetSettings;

/// How provider calls are metered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeteringSettings {
    /// Budgets.
    pub budgets: BudgetSettings,
}
