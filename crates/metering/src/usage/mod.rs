//! What a provider counted, in buckets that do not overlap.
//!
//! Each API counts in its own way: OpenAI's input includes what was read from the cache, Anthropic's does not; reasoning is part of
//! the output of one server and stands beside it at another. [`read_body`] and [`StreamReader`] read all of them into [`Usage`], and
//! nothing else in the metering knows of the differences. What is read is judged, never trusted: a count that contradicts another is
//! cut to the total that was reported and [flagged](Reading::mismatch), a count that is none is ignored, and nothing panics.
//!
//! What comes of it is in `docs/guides/provider-calls.md`, with the formulae.

mod anthropic;
mod body;
mod count;
mod estimate;
mod filter;
mod measure;
mod openai;
mod reading;
mod sse;
mod stream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use workforce::text_enum;

pub use body::{read_body, read_usage};
pub use estimate::{Bounds, tokens_at_most};
pub use filter::UsageChunkFilter;
pub use measure::{Measured, measure};
pub use reading::Reading;
pub use stream::StreamReader;

/// More than any call can count. What is above it is a defect of who counted, and is cut to it.
pub const MOST_OF_ONE: u64 = 1_000_000_000_000;

text_enum! {
    /// Whose way of counting an answer has.
    pub enum Flavour("API") {
        /// OpenAI's chat completions, and the many servers that speak it.
        OpenAiChat = "openai_chat",
        /// OpenAI's responses.
        OpenAiResponses = "openai_responses",
        /// OpenAI's embeddings.
        OpenAiEmbeddings = "openai_embeddings",
        /// Anthropic's messages.
        AnthropicMessages = "anthropic_messages",
        /// A line of the output file of an OpenAI batch.
        OpenAiBatch = "openai_batch",
        /// A line of the results of an Anthropic batch.
        AnthropicBatch = "anthropic_batch",
    }
}

/// Tokens and other units of one call. No token is in two buckets, whatever the provider's own counts include.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = UsageBuckets, example = json!({ "input": 1200, "cache_read": 800, "output": 350, "units": { "web_search": 2 } }))]
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

    /// Counts units, unless there are none.
    pub(crate) fn add_units(&mut self, name: &str, count: u64) {
        if count > 0 {
            let units = self.units.entry(name.to_owned()).or_default();
            *units = units.saturating_add(count).min(MOST_OF_ONE);
        }
    }
}
