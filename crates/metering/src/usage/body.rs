//! Answers that come in one piece.

use serde_json::Value;

use super::count::text;
use super::reading::Reading;
use super::{Flavour, anthropic, openai};

/// Reads an answer. Nothing in it can fail: what cannot be read is an answer that was cut off.
#[must_use]
pub fn read_body(flavour: Flavour, status: u16, body: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let good = (200..300).contains(&status);
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            reading.finished = true;
            read(&mut reading, flavour, &value);
        }
        Err(_) if good => reading.text_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX),
        Err(_) => {
            reading.finished = true;
            reading.says(String::from_utf8_lossy(body.get(..2000).unwrap_or(body)).trim());
        }
    }
    if good {
        if !reading.finished {
            reading.says("the answer cannot be read");
        }
    } else {
        // Providers charge nothing for an error unless they say so: what was written beside it is no text of a model.
        reading.says(&format!("status {status}"));
        reading.text_bytes = 0;
    }
    reading.decide();
    reading
}

/// Reads a provider's own `usage` object by itself.
#[must_use]
pub fn read_usage(flavour: Flavour, usage: &Value) -> Reading {
    let mut reading = Reading { finished: true, ..Reading::default() };
    match flavour {
        Flavour::OpenAiChat | Flavour::OpenAiResponses | Flavour::OpenAiEmbeddings | Flavour::OpenAiBatch => {
            openai::usage(&mut reading, usage);
        }
        Flavour::AnthropicMessages | Flavour::AnthropicBatch => anthropic::counted(&mut reading, usage),
    }
    if matches!(flavour, Flavour::OpenAiBatch | Flavour::AnthropicBatch) {
        reading.service_tier = Some("batch".to_owned());
    }
    reading
}

fn read(reading: &mut Reading, flavour: Flavour, value: &Value) {
    match flavour {
        Flavour::OpenAiChat | Flavour::OpenAiEmbeddings => openai::completion(reading, value),
        Flavour::OpenAiResponses => openai::response(reading, value),
        Flavour::AnthropicMessages => anthropic::message(reading, value),
        Flavour::OpenAiBatch => return openai_batch(reading, value),
        Flavour::AnthropicBatch => return anthropic_batch(reading, value),
    }
    reading.text_bytes =
        ["choices", "output", "content"].iter().filter_map(|name| value.get(name)).map(text_bytes).sum();
}

/// `{ "id", "custom_id", "response": { "status_code", "body" }, "error" }`: which of the APIs it was shows in the body.
fn openai_batch(reading: &mut Reading, line: &Value) {
    if let Some(body) = line.pointer("/response/body") {
        let responses = body.get("object").and_then(Value::as_str) == Some("response");
        let flavour = if responses { Flavour::OpenAiResponses } else { Flavour::OpenAiChat };
        read(reading, flavour, body);
    }
    reading.failed(line);
    reading.service_tier = Some("batch".to_owned());
}

/// `{ "custom_id", "result": { "type", "message" or "error" } }`.
fn anthropic_batch(reading: &mut Reading, line: &Value) {
    let result = line.get("result").unwrap_or(&Value::Null);
    match text(result.get("type"), 40).as_deref() {
        Some("succeeded") => read(reading, Flavour::AnthropicMessages, result.get("message").unwrap_or(&Value::Null)),
        Some("errored") => {
            let error = result.get("error").unwrap_or(&Value::Null);
            // the error stands in an answer of its own, as the API would have given it
            reading.failed(if error.get("error").is_some() { error } else { result });
            reading.says("errored");
        }
        other => reading.says(other.unwrap_or("the line has no result")),
    }
    reading.service_tier = Some("batch".to_owned());
}

/// The bytes of all texts in a value. A text may hold the input of a tool, which the model wrote as well.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members.values().map(text_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::call::UsageSource;

    #[test]
    fn an_error_costs_nothing_unless_it_says_so() {
        for status in [400, 401, 403, 404, 429, 500, 529] {
            for body in [&br#"{"error":{"message":"no","type":"x"}}"#[..], b"<html>no</html>", b""] {
                let reading = read_body(Flavour::OpenAiChat, status, body);
                assert_eq!(reading.source, UsageSource::None, "{status}");
                assert!(reading.error.is_some());
            }
        }
        let billed =
            br#"{"error":{"message":"late"},"usage":{"prompt_tokens":7,"completion_tokens":0,"total_tokens":7}}"#;
        assert_eq!(read_body(Flavour::OpenAiChat, 500, billed).source, UsageSource::Reported);
    }

    #[test]
    fn zero_is_a_count_and_nothing_is_none() {
        let of = |usage: &str| read_body(Flavour::OpenAiChat, 200, format!(r#"{{"usage":{usage}}}"#).as_bytes()).source;
        assert_eq!(of(r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#), UsageSource::Reported);
        for missing in ["null", "{}", "[]", "7", r#"{"prompt_tokens":null}"#, r#"{"prompt_tokens":"7"}"#] {
            assert_eq!(of(missing), UsageSource::Estimated, "{missing}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200), status in 100_u16..600) {
            for flavour in Flavour::ALL {
                let _ = read_body(*flavour, status, &body);
            }
        }

        #[test]
        fn no_json_panics(
            key in "(usage|error|output|content|result|response|model|iterations|input_tokens|type)",
            value in "(null|-1|1e400|99999999999999999999|\\[\\[\\]\\]|\\{\"body\":7\\}|\"x\"|\\{\"error\":\\{\\}\\})",
        ) {
            let body = format!(r#"{{"{key}":{value},"usage":{{"{key}":{value}}},"response":{{"body":{{"{key}":{value}}}}}}}"#);
            for flavour in Flavour::ALL {
                let _ = read_body(*flavour, 200, body.as_bytes());
            }
        }
    }
}
