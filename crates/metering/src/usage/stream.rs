//! Answers that come as a stream.
//!
//! The bytes go to the client as they are; this reads along. An event is parsed only when it can carry counts, of all others only the
//! length of their text is taken, so that reading along costs little. Memory is bounded whatever is sent.

use memchr::memmem;
use serde_json::Value;

use super::anthropic::{self, Merged};
use super::estimate::string_length;
use super::reading::Reading;
use super::sse::{Event, Events};
use super::{Flavour, openai};
use crate::call::UsageSource;

/// Reads a stream along.
#[derive(Debug)]
pub struct StreamReader {
    events: Events,
    state: State,
}

#[derive(Debug)]
struct State {
    flavour: Flavour,
    reading: Reading,
    /// Anthropic's counts so far.
    merged: Merged,
    /// Whether Anthropic's counts of the output came; before that there is a placeholder.
    output_counted: bool,
    /// Whether an event was parsed: the first one tells who answers.
    met: bool,
}

impl StreamReader {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        let state = State {
            flavour,
            reading: Reading::default(),
            merged: Merged::default(),
            output_counted: false,
            met: false,
        };
        Self { events: Events::default(), state }
    }

    /// Takes bytes as they come, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { events, state } = self;
        events.feed(bytes, |event| state.take(event));
    }

    /// Whether the model has begun to answer.
    #[must_use]
    pub const fn first_token_seen(&self) -> bool {
        self.state.reading.text_bytes > 0
    }

    /// Whether the stream has said that it is at its end.
    #[must_use]
    pub const fn finished(&self) -> bool {
        self.state.reading.finished
    }

    /// What the stream said, or as much of it as came.
    #[must_use]
    pub fn finish(self) -> Reading {
        let Self { events, mut state } = self;
        events.finish(|event| state.take(event));
        state.end()
    }
}

impl State {
    fn take(&mut self, event: Event<'_>) {
        if event.data == b"[DONE]" {
            self.reading.finished = true;
            return;
        }
        self.reading.text_bytes += text_length(self.flavour, event.data);
        if self.met && !tells(event.data) {
            return;
        }
        match serde_json::from_slice::<Value>(event.data) {
            Ok(value) => {
                self.met = true;
                self.read(&value);
                // Without its middle it can be read all the same when that was a text, but what else was there is not known.
                self.reading.mismatch |= event.cut;
            }
            Err(_) if event.cut => self.read_end(event.data),
            Err(_) => {}
        }
    }

    fn read(&mut self, event: &Value) {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        match self.flavour {
            Flavour::OpenAiResponses => {
                match event.get("response") {
                    Some(response) => openai::response(&mut self.reading, response),
                    None => self.reading.failed(event),
                }
                self.reading.finished |= ends_response(kind);
            }
            Flavour::AnthropicMessages | Flavour::AnthropicBatch => self.read_anthropic(kind, event),
            Flavour::OpenAiChat | Flavour::OpenAiEmbeddings | Flavour::OpenAiBatch => {
                openai::completion(&mut self.reading, event);
                // Some servers end with the counts and say no more.
                self.reading.finished |= is_usage_chunk(event);
            }
        }
    }

    fn read_anthropic(&mut self, kind: &str, event: &Value) {
        let counted = match kind {
            "message_start" => {
                let message = event.get("message").unwrap_or(&Value::Null);
                self.reading.names(message);
                message.get("usage")
            }
            "message_delta" => {
                let counted = event.get("usage");
                self.output_counted |=
                    counted.is_some_and(|usage| usage.get("output_tokens").is_some_and(Value::is_u64));
                counted
            }
            "message_stop" => {
                self.reading.finished = true;
                None
            }
            _ => {
                self.reading.failed(event);
                None
            }
        };
        if let Some(counted) = counted {
            self.merged.merge(counted);
            anthropic::circumstances(&mut self.reading, counted);
        }
    }

    /// The counts at the end of an event whose middle is missing. What else it said is lost, so it is flagged.
    fn read_end(&mut self, data: &[u8]) {
        const USAGE: &[u8] = b"\"usage\"";
        let Some(at) = memmem::rfind(data, USAGE) else { return };
        let after = data[at + USAGE.len()..].trim_ascii_start();
        let Some(after) = after.strip_prefix(b":") else { return };
        let Some(Ok(usage)) = serde_json::Deserializer::from_slice(after).into_iter::<Value>().next() else { return };
        match self.flavour {
            Flavour::AnthropicMessages | Flavour::AnthropicBatch => self.merged.merge(&usage),
            _ => openai::usage(&mut self.reading, &usage),
        }
        self.reading.mismatch = true;
        let head = data.get(..256).unwrap_or(data);
        let kinds = ["response.completed", "response.incomplete", "response.failed"];
        self.reading.finished |= kinds.iter().any(|kind| memmem::find(head, kind.as_bytes()).is_some());
    }

    fn end(self) -> Reading {
        let Self { mut reading, merged, output_counted, .. } = self;
        if merged.any() {
            let (usage, odd) = merged.buckets();
            reading.usage = usage;
            reading.mismatch |= odd;
            reading.source = if output_counted { UsageSource::Reported } else { UsageSource::Estimated };
        }
        reading.decide();
        reading
    }
}

/// Whether an event may say more than text: counts, an error, or that it is the last one. Inside of a text a quote has a backslash
/// before it, so a text that speaks of these does not look like them.
fn tells(data: &[u8]) -> bool {
    const USAGE: &[u8] = b"\"usage\"";
    let counts = memmem::find_iter(data, USAGE).any(|at| {
        let after = data[at + USAGE.len()..].trim_ascii_start();
        after.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"{"))
    });
    let words: [&[u8]; 3] = [b"\"error\"", b"\"message_stop\"", b"\"response\""];
    counts || words.iter().any(|word| memmem::find(data, word).is_some())
}

fn ends_response(kind: &str) -> bool {
    matches!(kind, "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled")
}

/// Whether a chunk of a chat completion holds the counts and nothing else.
pub(super) fn is_usage_chunk(chunk: &Value) -> bool {
    let no_choices = chunk.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty);
    no_choices && chunk.get("usage").is_some_and(Value::is_object)
}

/// The bytes of text in an event, as they are between quotes.
fn text_length(flavour: Flavour, data: &[u8]) -> u64 {
    let keys: &[&[u8]] = match flavour {
        Flavour::OpenAiResponses => &[b"\"delta\""],
        Flavour::AnthropicMessages | Flavour::AnthropicBatch => &[b"\"text\"", b"\"partial_json\"", b"\"thinking\""],
        Flavour::OpenAiEmbeddings => &[],
        Flavour::OpenAiChat | Flavour::OpenAiBatch => {
            &[b"\"content\"", b"\"arguments\"", b"\"reasoning_content\"", b"\"reasoning\"", b"\"refusal\""]
        }
    };
    let of_key = |key: &&[u8]| {
        let strings = memmem::find_iter(data, *key).filter_map(|at| {
            let after = data[at + key.len()..].trim_ascii_start().strip_prefix(b":")?;
            let string = after.trim_ascii_start().strip_prefix(b"\"")?;
            Some(string_length(string))
        });
        strings.sum::<usize>()
    };
    u64::try_from(keys.iter().map(of_key).sum::<usize>()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::usage::{Bounds, Usage};

    fn read(flavour: Flavour, stream: &str) -> Reading {
        let mut reader = StreamReader::new(flavour);
        reader.feed(stream.as_bytes());
        reader.finish()
    }

    const CHAT: &str = concat!(
        "data: {\"id\":\"chatcmpl-1\",\"model\":\"m-1\",\"service_tier\":\"flex\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\":{} \"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n",
        "data: [DONE]\n\n",
    );

    const MESSAGE: &str = concat!(
        "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c-1\",\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":7,\"output_tokens\":1}}}\r\n\r\n",
        "event: ping\r\ndata: {\"type\":\"ping\"}\r\n\r\n",
        "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\r\n\r\n",
        "event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\r\n\r\n",
        "event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n",
    );

    #[test]
    fn a_chat_ends_with_its_counts() {
        let reading = read(Flavour::OpenAiChat, CHAT);
        assert_eq!((reading.usage.input, reading.usage.output), (9, 4));
        assert_eq!((reading.source, reading.finished), (UsageSource::Reported, true));
        assert_eq!((reading.model.as_deref(), reading.tier().as_deref()), (Some("m-1"), Some("flex")));
        assert_eq!(reading.text_bytes, 17);
        let cut =
            read(Flavour::OpenAiChat, &CHAT[..CHAT.find("data: {\"id\":\"chatcmpl-1\",\"choices\":[],").unwrap()]);
        assert_eq!((cut.source, cut.finished), (UsageSource::Estimated, false));
        assert_eq!(cut.usage_within(&Bounds { input_at_most: 50, output_at_most: Some(5), choices: 1 }).0.output, 5);
    }

    #[test]
    fn a_message_is_counted_from_both_ends() {
        let reading = read(Flavour::AnthropicMessages, MESSAGE);
        assert_eq!(reading.usage, Usage { input: 25, cache_read: 7, output: 15, ..Usage::default() });
        assert_eq!((reading.source, reading.finished), (UsageSource::Reported, true));
        // cut before the counts of the output, the placeholder is not taken for them
        let cut = read(Flavour::AnthropicMessages, &MESSAGE[..MESSAGE.find("event: message_delta").unwrap()]);
        assert_eq!((cut.source, cut.finished, cut.usage.output), (UsageSource::Estimated, false, 1));
        let (usage, _) = cut.usage_within(&Bounds { input_at_most: 4000, ..Bounds::default() });
        assert_eq!((usage.input, usage.cache_read, usage.output), (25, 7, 3));
    }

    #[test]
    fn an_error_before_anything_costs_nothing() {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let reading = read(Flavour::AnthropicMessages, error);
        assert_eq!(
            (reading.source, reading.error.as_deref()),
            (UsageSource::None, Some("overloaded_error: Overloaded"))
        );
        let late = format!("{}{error}", &MESSAGE[..MESSAGE.find("event: message_delta").unwrap()]);
        assert_eq!(read(Flavour::AnthropicMessages, &late).source, UsageSource::Estimated);
    }

    #[test]
    fn the_counts_of_a_giant_event_are_found() {
        for middle in ["x".repeat(3_000_000), "\",\"".repeat(1_000_000), "\",{},\"".repeat(500_000)] {
            let stream = format!(
                "data: {{\"type\":\"response.completed\",\"response\":{{\"output\":[\"{middle}\"],\"usage\":{{\"input_tokens\":5,\"output_tokens\":6}}}}}}\n\n",
            );
            let reading = read(Flavour::OpenAiResponses, &stream);
            assert_eq!((reading.usage.input, reading.usage.output), (5, 6));
            assert_eq!((reading.source, reading.finished, reading.mismatch), (UsageSource::Reported, true, true));
        }
    }

    proptest! {
        /// Where the bytes are cut does not matter.
        #[test]
        fn pieces_are_read_as_the_whole(size in 1_usize..200) {
            for (flavour, stream) in [(Flavour::OpenAiChat, CHAT), (Flavour::AnthropicMessages, MESSAGE)] {
                let mut reader = StreamReader::new(flavour);
                stream.as_bytes().chunks(size).for_each(|piece| reader.feed(piece));
                prop_assert_eq!(reader.finish(), read(flavour, stream));
            }
        }

        #[test]
        fn no_stream_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..400) {
            for (flavour, stream) in [(Flavour::OpenAiChat, CHAT), (Flavour::OpenAiResponses, CHAT), (Flavour::AnthropicMessages, MESSAGE)] {
                let mut broken = stream.as_bytes().to_vec();
                let at = at.min(broken.len());
                broken.splice(at..at, bytes.iter().copied());
                let mut reader = StreamReader::new(flavour);
                reader.feed(&broken);
                let _ = reader.finish();
            }
        }
    }
}
