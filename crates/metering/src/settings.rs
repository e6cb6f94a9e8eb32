use serde::{Deserialize, Serialize};

use crate::gateway::GatewaySettings;

/// How provider calls are metered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeteringSettings {
    /// The gateway that official clients call providers through.
    pub gateway: GatewaySettings,
}
