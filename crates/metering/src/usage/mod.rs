//! What a provider counted, in buckets that do not overlap.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Tokens and other units of one call. No token is in two buckets, whatever the provider's own counts include.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache that lasts five minutes, or whose time was not told.
    pub cache_write: u64,
    /// Input written to a cache that lasts an hour.
    pub cache_write_1h: u64,
    /// Input of sound, not read from a cache.
    pub audio_input: u64,
    /// Output but for what follows.
    pub output: u64,
    /// Output that reasoned.
    pub reasoning: u64,
    /// Output of sound.
    pub audio_output: u64,
    /// Units that are no tokens, such as `web_search`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, u64>,
}

impl Usage {
    /// All input.
    #[must_use]
    pub const fn tokens_input(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.audio_input
    }

    /// All output.
    #[must_use]
    pub const fn tokens_output(&self) -> u64 {
        self.output + self.reasoning + self.audio_output
    }
}
