use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of events and of the streams that tell of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Streams that one tenant may have open on one server. Default: 32.
    pub streams_per_tenant: usize,
    /// Streams that one server has open. Default: 4096.
    pub streams: usize,
    /// A stream without events shows so often that it lives. Default: 15 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub heartbeat: Duration,
    /// A stream looks for new events so often without being told of any. Default: 5 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub poll: Duration,
    /// A stream ends after this and is opened anew by its client. Default: 1 h.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub max_age: Duration,
    /// Events are kept so long for clients that were away. Default: 24 h.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub keep: Duration,
    /// At most so many events of a tenant are kept. Default: 10,000.
    pub keep_rows: u32,
    /// How often older ones are removed. Default: 300 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub sweep: Duration,
    /// Whether other servers are told of new events; off only in a test of what happens when they do not hear.
    #[cfg(feature = "negative-controls")]
    #[serde(skip)]
    pub announce: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            streams_per_tenant: 32,
            streams: 4096,
            heartbeat: Duration::from_secs(15),
            poll: Duration::from_secs(5),
            max_age: Duration::from_secs(3600),
            keep: Duration::from_secs(24 * 3600),
            keep_rows: 10_000,
            sweep: Duration::from_secs(300),
            #[cfg(feature = "negative-controls")]
            announce: true,
        }
    }
}
