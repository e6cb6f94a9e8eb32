//! What a request's body asks for, as far as it matters here, and the one edit that is ever made to it.

use std::ops::Range;

use axum::body::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::api::Operation;

const INCLUDE_USAGE: &str = r#""include_usage":true"#;
/// Longer names are cut on the row; the provider gets the whole.
const LONGEST_NAME: usize = 200;

/// Members of a request. What they are not is left to the provider to refuse.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "as_written")]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    n: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written")]
    background: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "as_written")]
    include_usage: Option<&'a RawValue>,
}

/// A member that is there, `null` included.
fn as_written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// More answers than any API gives at once. With more, what a call can cost would be beyond all bounds, and no bound holds nothing.
const MOST_CHOICES: u64 = 1000;

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ask {
    /// The model.
    pub(super) model: Option<String>,
    /// Whether the answer is to be a stream.
    pub(super) streams: bool,
    /// The most output that the request allows, over all choices.
    pub(super) output_at_most: Option<u64>,
    /// How many answers it asks for.
    pub(super) choices: u64,
    /// The tier.
    pub(super) service_tier: Option<String>,
    /// Where the body is to be changed, and to what, so that a stream tells its usage.
    edit: Option<(Range<usize>, String)>,
}

/// Why a body is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    #[error("the body is not a JSON object, or has a member twice")]
    NotAnObject,
    #[error("`background` is not passed on: what the response costs comes after its answer, where nobody sees it")]
    Background,
}

impl Ask {
    /// Reads a body.
    pub(super) fn read(operation: Operation, body: &[u8]) -> Result<Self, Unread> {
        if !body.trim_ascii_start().starts_with(b"{") {
            // An array of the members' values would be read as well.
            return Err(Unread::NotAnObject);
        }
        let members: Members<'_> = serde_json::from_slice(body).map_err(|_| Unread::NotAnObject)?;
        if operation == Operation::Responses && is_true(members.background) {
            return Err(Unread::Background);
        }
        let streams = is_true(members.stream);
        let output = match operation {
            Operation::ChatCompletions => members.max_completion_tokens.or(members.max_tokens),
            Operation::Responses => members.max_output_tokens,
            Operation::Messages => members.max_tokens,
            _ => None,
        };
        let choices = if operation == Operation::ChatCompletions {
            number(members.n).unwrap_or(1).clamp(1, MOST_CHOICES)
        } else {
            1
        };
        let output_at_most = match operation {
            Operation::Embeddings => Some(0),
            _ => number(output).map(|most| most.saturating_mul(choices)),
        };
        let edit = (operation == Operation::ChatCompletions && streams)
            .then(|| asking_for_usage(body, members.stream_options))
            .flatten();
        let (model, service_tier) = (name(members.model), name(members.service_tier));
        Ok(Self { model, streams, output_at_most, choices, service_tier, edit })
    }

    /// Whether the client did not ask for the usage that its stream will tell.
    pub(super) const fn is_edited(&self) -> bool {
        self.edit.is_some()
    }

    /// The body as the provider gets it: the same bytes, unless the stream has to be asked for its usage.
    pub(super) fn body(&self, body: Bytes) -> Bytes {
        let Some((place, text)) = &self.edit else { return body };
        let mut edited = Vec::with_capacity(body.len() + text.len());
        edited.extend_from_slice(&body[..place.start]);
        edited.extend_from_slice(text.as_bytes());
        edited.extend_from_slice(&body[place.end..]);
        edited.into()
    }
}

/// The least edit that asks for the usage; `None` where it is asked for, or where the provider will refuse the request anyway.
fn asking_for_usage(body: &[u8], options: Option<&RawValue>) -> Option<(Range<usize>, String)> {
    let Some(options) = options else {
        // The object is not empty: it has `stream`.
        let start = body.iter().position(|b| *b == b'{')? + 1;
        return Some((start..start, format!(r#""stream_options":{{{INCLUDE_USAGE}}},"#)));
    };
    let place = place_of(body, options)?;
    let text = options.get();
    if text == "null" {
        return Some((place, format!("{{{INCLUDE_USAGE}}}")));
    }
    let given: StreamOptions<'_> = serde_json::from_str(text).ok()?;
    match given.include_usage {
        Some(value) if value.get() == "true" => None,
        Some(value) if matches!(value.get(), "false" | "null") => Some((place_of(body, value)?, "true".to_owned())),
        Some(_) => None,
        None => {
            let start = place.start + 1;
            let empty = text[1..].trim_start().starts_with('}');
            let comma = if empty { "" } else { "," };
            text.starts_with('{').then(|| (start..start, format!("{INCLUDE_USAGE}{comma}")))
        }
    }
}

/// Where in the body a value stands that was read from it.
fn place_of(body: &[u8], value: &RawValue) -> Option<Range<usize>> {
    let start = value.get().as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let place = start..start + value.get().len();
    (body.get(place.clone()) == Some(value.get().as_bytes())).then_some(place)
}

fn is_true(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

fn number(value: Option<&RawValue>) -> Option<u64> {
    serde_json::from_str(value?.get()).ok()
}

fn name(value: Option<&RawValue>) -> Option<String> {
    let name: String = serde_json::from_str(value?.get()).ok()?;
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn chat(body: &str) -> Ask {
        Ask::read(Operation::ChatCompletions, body.as_bytes()).unwrap()
    }

    fn edited(body: &str) -> String {
        let ask = chat(body);
        String::from_utf8(ask.body(Bytes::copy_from_slice(body.as_bytes())).to_vec()).unwrap()
    }

    #[test]
    fn what_matters_is_read() {
        let ask =
            chat(r#"{"model":"gpt-5","n":3,"max_tokens":10,"max_completion_tokens":7,"service_tier":"flex","x":[1]}"#);
        assert_eq!((ask.model.as_deref(), ask.service_tier.as_deref()), (Some("gpt-5"), Some("flex")));
        assert_eq!((ask.streams, ask.output_at_most, ask.choices, ask.is_edited()), (false, Some(21), 3, false));
        let odd = chat(r#"{"model":7,"stream":"yes","max_tokens":-1,"n":null}"#);
        assert_eq!(odd, Ask { choices: 1, ..Ask::default() });
        let of = |operation, body: &str| Ask::read(operation, body.as_bytes());
        assert_eq!(of(Operation::Messages, r#"{"max_tokens":9,"stream":true}"#).unwrap().output_at_most, Some(9));
        assert_eq!(of(Operation::Embeddings, "{}").unwrap().output_at_most, Some(0));
        assert_eq!(of(Operation::Responses, r#"{"background":true}"#), Err(Unread::Background));
        for bad in ["", "[]", "7", "{", r#"{"model":"a","model":"b"}"#, "{} x"] {
            assert_eq!(of(Operation::Messages, bad), Err(Unread::NotAnObject), "{bad}");
        }
    }

    #[test]
    fn a_stream_is_asked_for_its_usage_and_nothing_else_changes() {
        for (given, expected) in [
            (r#"{"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            (
                " {\n \"stream\" : true,\"é\":1.50}",
                " {\"stream_options\":{\"include_usage\":true},\n \"stream\" : true,\"é\":1.50}",
            ),
            (r#"{"stream":true,"stream_options":null}"#, r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
            (
                r#"{"stream":true,"stream_options": { }}"#,
                r#"{"stream":true,"stream_options": {"include_usage":true }}"#,
            ),
            (
                r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":false,"x":1},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"x":1},"stream":true}"#,
            ),
        ] {
            assert_eq!(edited(given), expected);
        }
        for same in [
            r#"{"stream":false}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"stream":true,"stream_options":7}"#,
            r#"{"stream":true,"stream_options":{"include_usage":7}}"#,
            r#"{"messages":[{"stream":true}]}"#,
        ] {
            assert_eq!(edited(same), same);
        }
        let other = Ask::read(Operation::Responses, br#"{"stream":true}"#).unwrap();
        assert!(other.streams && !other.is_edited());
    }

    proptest! {
        /// Whatever else is in the body, the edit adds exactly the option.
        #[test]
        fn the_edit_is_the_option(before in "[a-z]{1,6}", text in ".{0,20}", options in 0_usize..4) {
            let mut body = json!({ "stream": true });
            body[format!("x{before}")] = json!({ "stream_options": text });
            match options {
                1 => body["stream_options"] = Value::Null,
                2 => body["stream_options"] = json!({}),
                3 => body["stream_options"] = json!({ "a": text, "include_usage": false }),
                _ => {}
            }
            let after: Value = serde_json::from_str(&edited(&body.to_string())).unwrap();
            if !body["stream_options"].is_object() {
                body["stream_options"] = json!({});
            }
            body["stream_options"]["include_usage"] = json!(true);
            prop_assert_eq!(after, body);
        }
    }
}
