//! How OpenAI counts, and those who speak its protocol.
//!
//! Input includes what was read from the cache and what was written to it, sound included; output includes reasoning and sound. Some
//! compatible servers put a part beside the whole instead of inside it. The total tells which: it is the sum of what stands side by side.

use serde_json::Value;

use super::Usage;
use super::count::{Counts, text};
use super::reading::Reading;
use crate::call::UsageSource;

/// The counts of a `usage` object, in either of the API's two spellings.
struct Raw {
    input: u64,
    output: u64,
    total: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    audio_input: u64,
    reasoning: u64,
    audio_output: u64,
    mismatch: bool,
}

/// Reads a `usage` object into a reading. An object without any count is no usage.
pub(super) fn usage(reading: &mut Reading, usage: &Value) {
    let mut counts = Counts::default();
    let raw = raw(&mut counts, usage);
    if !counts.any {
        return;
    }
    let (buckets, contradicts) = raw.buckets();
    // What was counted outside of this object stays.
    let units = std::mem::take(&mut reading.usage.units);
    reading.usage = Usage { units, ..buckets };
    reading.source = UsageSource::Reported;
    reading.mismatch = contradicts || counts.odd;
    reading.provider_cost_usd = super::reading::cost(usage.get("cost"));
}

fn raw(counts: &mut Counts, usage: &Value) -> Raw {
    const NOTHING: &Value = &Value::Null;
    let details = |names: [&str; 2]| names.iter().find_map(|name| usage.get(name)).unwrap_or(NOTHING);
    let input = details(["prompt_tokens_details", "input_tokens_details"]);
    let output = details(["completion_tokens_details", "output_tokens_details"]);
    let of_cache = input.get("cached_tokens_details").unwrap_or(NOTHING);
    let audio = counts.part(input, &["audio_tokens"]);
    let audio_read = counts.part(of_cache, &["audio_tokens"]);
    Raw {
        input: counts.part(usage, &["prompt_tokens", "input_tokens"]),
        output: counts.part(usage, &["completion_tokens", "output_tokens"]),
        total: counts.get(usage, &["total_tokens"]),
        cache_read: counts.part(input, &["cached_tokens"]),
        cache_write: counts.part(input, &["cache_write_tokens", "cache_creation_tokens"]),
        audio_input: audio.saturating_sub(audio_read),
        reasoning: counts.part(output, &["reasoning_tokens"]),
        audio_output: counts.part(output, &["audio_tokens"]),
        mismatch: audio_read > audio,
    }
}

impl Raw {
    /// The buckets, and whether the counts contradict each other.
    fn buckets(&self) -> (Usage, bool) {
        let cached = self.cache_read + self.cache_write;
        let beside = |input: u64, output: u64| self.total == Some(self.input + self.output + input + output);
        let inside = beside(0, 0);
        let reasoning_beside =
            !inside && self.reasoning > 0 && (beside(0, self.reasoning) || beside(cached, self.reasoning));
        let cache_beside = !inside && cached > 0 && (beside(cached, 0) || beside(cached, self.reasoning));
        let explained = self.total.is_none() || inside || reasoning_beside || cache_beside;

        let input = self.input + if cache_beside { cached } else { 0 };
        let output = self.output + if reasoning_beside { self.reasoning } else { 0 };
        // Parts are cut to what is left of the whole, so that the buckets add up to what was reported as a whole.
        let (mut left, mut cut) = (input, self.mismatch);
        let mut take = |part: u64, left: &mut u64| {
            let taken = part.min(*left);
            cut |= taken < part;
            *left -= taken;
            taken
        };
        let cache_read = take(self.cache_read, &mut left);
        let cache_write = take(self.cache_write, &mut left);
        let audio_input = take(self.audio_input, &mut left);
        let input = left;
        left = output;
        let reasoning = take(self.reasoning, &mut left);
        let audio_output = take(self.audio_output, &mut left);
        let usage = Usage {
            input,
            cache_read,
            cache_write,
            audio_input,
            output: left,
            reasoning,
            audio_output,
            ..Usage::default()
        };
        (usage, cut || !explained)
    }
}

/// A chat completion, a chunk of one, or embeddings.
pub(super) fn completion(reading: &mut Reading, body: &Value) {
    reading.names(body);
    if let Some(counted) = body.get("usage") {
        usage(reading, counted);
    }
    reading.failed(body);
}

/// A response of the responses API. Its tools are in its output; those that cost by the call are counted.
pub(super) fn response(reading: &mut Reading, body: &Value) {
    reading.names(body);
    if let Some(items) = body.get("output").and_then(Value::as_array)
        && !items.is_empty()
    {
        reading.usage.units.clear();
        tools(&mut reading.usage, items);
    }
    if let Some(counted) = body.get("usage") {
        usage(reading, counted);
    }
    if text(body.get("status"), 20).as_deref() == Some("failed") && body.get("error").is_none_or(Value::is_null) {
        reading.error = Some("the response failed".to_owned());
    }
    reading.failed(body);
}

/// A search that opens or reads a page it has found costs nothing more; a container is one unit however often it is used.
fn tools(usage: &mut Usage, items: &[Value]) {
    let mut containers: Vec<&str> = Vec::new();
    for item in items {
        match item.get("type").and_then(Value::as_str) {
            Some("web_search_call") => {
                let action = item.pointer("/action/type").and_then(Value::as_str);
                if action.is_none_or(|action| action == "search") {
                    usage.add_units("web_search", 1);
                }
            }
            Some("file_search_call") => usage.add_units("file_search", 1),
            Some("code_interpreter_call") => {
                let container = item.get("container_id").and_then(Value::as_str).unwrap_or_default();
                if !containers.contains(&container) {
                    containers.push(container);
                    usage.add_units("code_interpreter", 1);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> (Usage, bool) {
        let mut reading = Reading::default();
        usage(&mut reading, value);
        assert_eq!(reading.source, UsageSource::Reported);
        (reading.usage, reading.mismatch)
    }

    #[test]
    fn parts_are_inside_the_whole() {
        let (usage, mismatch) = read(&json!({
            "prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300,
            "prompt_tokens_details": { "cached_tokens": 600, "cache_write_tokens": 100, "audio_tokens": 50 },
            "completion_tokens_details": { "reasoning_tokens": 200, "audio_tokens": 20 },
        }));
        let expected = Usage {
            input: 250,
            cache_read: 600,
            cache_write: 100,
            audio_input: 50,
            output: 80,
            reasoning: 200,
            audio_output: 20,
            ..Usage::default()
        };
        assert_eq!((usage, mismatch), (expected, false));
    }

    #[test]
    fn the_total_tells_what_stands_beside() {
        let (usage, mismatch) = read(&json!({
            "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 80,
            "completion_tokens_details": { "reasoning_tokens": 50 },
        }));
        assert_eq!((usage.output, usage.reasoning, mismatch), (20, 50, false));
        let (usage, mismatch) = read(&json!({
            "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 1030,
            "prompt_tokens_details": { "cached_tokens": 1000 },
        }));
        assert_eq!((usage.input, usage.cache_read, usage.output, mismatch), (10, 1000, 20, false));
    }

    #[test]
    fn a_part_that_is_more_than_the_whole_is_cut_and_flagged() {
        let (usage, mismatch) = read(&json!({
            "prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "prompt_tokens_details": { "cached_tokens": 900 },
        }));
        assert_eq!((usage.tokens_input(), usage.cache_read, mismatch), (100, 100, true));
        let (usage, mismatch) = read(&json!({ "prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 99 }));
        assert_eq!(
            (usage.tokens_input(), usage.tokens_output(), mismatch),
            (100, 5, true),
            "the parts count, not the sum"
        );
    }

    proptest! {
        /// Whatever the counts are, no token is lost or made: the buckets are the whole, or the whole and what stands beside it.
        #[test]
        fn the_buckets_are_the_whole(
            input in 0_u64..2000, output in 0_u64..2000, total in proptest::option::of(0_u64..4000),
            cached in 0_u64..2000, written in 0_u64..2000, audio in 0_u64..100, reasoning in 0_u64..2000,
        ) {
            let (usage, _) = read(&json!({
                "prompt_tokens": input, "completion_tokens": output, "total_tokens": total,
                "prompt_tokens_details": { "cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio },
                "completion_tokens_details": { "reasoning_tokens": reasoning },
            }));
            prop_assert!([input, input + cached + written].contains(&usage.tokens_input()));
            prop_assert!([output, output + reasoning].contains(&usage.tokens_output()));
        }
    }
}
