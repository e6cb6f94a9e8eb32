//! How Anthropic counts.
//!
//! Input is what was neither read from the cache nor written to it; the three stand side by side. Output includes thinking. In a
//! stream each count is cumulative and may come again and again: of each, the greatest is true, and no two are ever added.

use serde_json::Value;

use super::count::{Counts, text};
use super::reading::Reading;
use super::{MOST_OF_ONE, Usage};
use crate::call::UsageSource;

/// What was counted so far, field by field.
#[derive(Debug, Default)]
pub(super) struct Merged {
    input: Option<u64>,
    cache_read: Option<u64>,
    /// All that was written to caches, and how much of it to those of five minutes and of an hour.
    written: Option<u64>,
    written_5m: Option<u64>,
    written_1h: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
    searches: Option<u64>,
    executions: Option<u64>,
    /// What was compacted on the way: input, cache read, written and output that the other counts do not include.
    compacted: [u64; 4],
    odd: bool,
    any: bool,
}

impl Merged {
    /// Takes a `usage` object up.
    pub(super) fn merge(&mut self, usage: &Value) {
        const NOTHING: &Value = &Value::Null;
        let of = |name: &str| usage.get(name).unwrap_or(NOTHING);
        let (split, tools, details) = (of("cache_creation"), of("server_tool_use"), of("output_tokens_details"));
        let mut counts = Counts::default();
        let mut most = |field: &mut Option<u64>, object: &Value, names: &[&str]| {
            *field = (*field).max(counts.get(object, names));
        };
        most(&mut self.input, usage, &["input_tokens"]);
        most(&mut self.cache_read, usage, &["cache_read_input_tokens"]);
        most(&mut self.written, usage, &["cache_creation_input_tokens"]);
        most(&mut self.written_5m, split, &["ephemeral_5m_input_tokens"]);
        most(&mut self.written_1h, split, &["ephemeral_1h_input_tokens"]);
        most(&mut self.output, usage, &["output_tokens"]);
        most(&mut self.thinking, details, &["thinking_tokens", "reasoning_tokens"]);
        most(&mut self.searches, tools, &["web_search_requests"]);
        most(&mut self.executions, tools, &["code_execution_requests"]);
        if let Some(iterations) = usage.get("iterations").and_then(Value::as_array) {
            self.compacted = compactions(&mut counts, iterations);
        }
        self.odd |= counts.odd;
        self.any |= counts.any;
    }

    /// Whether anything was counted.
    pub(super) const fn any(&self) -> bool {
        self.any
    }

    /// The buckets, and whether the counts contradict each other.
    pub(super) fn buckets(&self) -> (Usage, bool) {
        let mut odd = self.odd;
        let (short, long) = (self.written_5m.unwrap_or(0), self.written_1h.unwrap_or(0));
        // The sum says how much, its parts say of which kind: never both, and what has no kind is of the short one.
        let (cache_write, cache_write_1h) = match self.written {
            Some(written) => {
                let split = self.written_5m.is_some() || self.written_1h.is_some();
                odd |= split && short + long != written;
                let long = long.min(written);
                (written - long, long)
            }
            None => (short, long),
        };
        let output = self.output.unwrap_or(0);
        let reasoning = self.thinking.unwrap_or(0).min(output);
        odd |= self.thinking.unwrap_or(0) > output;
        let [more_input, more_read, more_written, more_output] = self.compacted;
        let mut usage = Usage {
            input: self.input.unwrap_or(0) + more_input,
            cache_read: self.cache_read.unwrap_or(0) + more_read,
            cache_write: cache_write + more_written,
            cache_write_1h,
            output: output - reasoning + more_output,
            reasoning,
            ..Usage::default()
        };
        usage.add_units("web_search", self.searches.unwrap_or(0));
        usage.add_units("code_execution", self.executions.unwrap_or(0));
        (usage, odd)
    }
}

/// What compacting the conversation took. The other iterations are in the sums already, or are another model's.
fn compactions(counts: &mut Counts, iterations: &[Value]) -> [u64; 4] {
    let mut sums = [0_u64; 4];
    let compacting = |entry: &&Value| entry.get("type").and_then(Value::as_str) == Some("compaction");
    for entry in iterations.iter().filter(compacting) {
        let names = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"];
        for (sum, name) in sums.iter_mut().zip(names) {
            *sum = sum.saturating_add(counts.part(entry, &[name])).min(MOST_OF_ONE);
        }
    }
    sums
}

/// The tier and the other things that the price depends on, which stand among the counts.
pub(super) fn circumstances(reading: &mut Reading, usage: &Value) {
    if let Some(tier) = text(usage.get("service_tier"), 40) {
        reading.served(tier);
    }
    reading.speed = text(usage.get("speed"), 40).or_else(|| reading.speed.take());
    reading.inference_geo = text(usage.get("inference_geo"), 40).or_else(|| reading.inference_geo.take());
}

/// A message.
pub(super) fn message(reading: &mut Reading, body: &Value) {
    reading.names(body);
    if let Some(usage) = body.get("usage") {
        counted(reading, usage);
    }
    reading.failed(body);
}

/// A `usage` object that is the only one.
pub(super) fn counted(reading: &mut Reading, usage: &Value) {
    let mut merged = Merged::default();
    merged.merge(usage);
    if merged.any() {
        (reading.usage, reading.mismatch) = merged.buckets();
        reading.source = UsageSource::Reported;
    }
    circumstances(reading, usage);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(usage: Value) -> (Usage, bool) {
        let mut merged = Merged::default();
        merged.merge(&usage);
        merged.buckets()
    }

    #[test]
    fn the_cache_stands_beside_the_input() {
        let (usage, odd) = read(json!({
            "input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500, "output_tokens": 7,
        }));
        let expected = Usage { input: 10, cache_read: 1000, cache_write: 500, output: 7, ..Usage::default() };
        assert_eq!((usage, odd), (expected, false));
    }

    #[test]
    fn what_was_written_is_counted_once() {
        let of = |sum: Value, short: Value, long: Value| {
            let (usage, odd) = read(json!({
                "input_tokens": 0, "cache_creation_input_tokens": sum,
                "cache_creation": { "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long },
            }));
            (usage.cache_write, usage.cache_write_1h, odd)
        };
        assert_eq!(of(json!(500), json!(200), json!(300)), (200, 300, false));
        assert_eq!(of(json!(null), json!(200), json!(300)), (200, 300, false));
        assert_eq!(of(json!(500), json!(null), json!(null)), (500, 0, false));
        assert_eq!(of(json!(500), json!(0), json!(0)), (500, 0, true));
        assert_eq!(of(json!(500), json!(400), json!(300)), (200, 300, true));
        assert_eq!(of(json!(100), json!(0), json!(300)), (0, 100, true));
    }

    #[test]
    fn snapshots_are_never_added() {
        let mut merged = Merged::default();
        merged.merge(&json!({ "input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1 }));
        merged.merge(&json!({ "output_tokens": 15 }));
        merged.merge(&json!({ "input_tokens": 0, "cache_read_input_tokens": 100, "output_tokens": 40 }));
        let (usage, odd) = merged.buckets();
        assert_eq!((usage, odd), (Usage { input: 25, cache_read: 100, output: 40, ..Usage::default() }, false));
    }

    #[test]
    fn compacting_comes_on_top() {
        let (usage, _) = read(json!({
            "input_tokens": 45, "output_tokens": 12,
            "iterations": [
                { "type": "compaction", "input_tokens": 180_000, "output_tokens": 3500 },
                { "type": "message", "input_tokens": 45, "output_tokens": 12 },
            ],
        }));
        assert_eq!((usage.input, usage.output), (180_045, 3512));
    }
}
