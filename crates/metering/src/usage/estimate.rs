//! How much it can have been, where nobody counted.
//!
//! A token of the known tokenisers is seldom shorter than two bytes of text, so a text has at most one token for two bytes. What is
//! estimated is bounded by what was asked for at most; an estimate without that bound once charged a caller for nine times what the
//! model can write.

use memchr::memchr;

use super::Usage;
use super::reading::Reading;

/// Bytes of text for one token, at least.
const BYTES_PER_TOKEN: u64 = 2;
/// No model takes more input.
const MOST_INPUT: u64 = 2_000_000;
/// Strings of this length that are base64 are pictures and sound, which are not counted by their bytes.
const BLOB_BYTES: usize = 2048;
/// The most that a picture or a short sound counts.
const BLOB_TOKENS: u64 = 5000;
/// How a PDF begins, in base64. It is counted as text, for its pages are many pictures.
const PDF: &[u8] = b"JVBERi0";

/// What a call could use at most, by its request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens of input, as [`tokens_at_most`] says.
    pub input_at_most: u64,
    /// Tokens of output, over all choices: what the request allows, or the model.
    pub output_at_most: Option<u64>,
    /// How many answers are asked for at once. What a model can write is the limit of each; 0 counts as 1.
    pub choices: u64,
}

impl Bounds {
    /// The bounds of a request.
    #[must_use]
    pub fn of(body: &[u8], output_at_most: Option<u64>, choices: u64) -> Self {
        Self { input_at_most: tokens_at_most(body), output_at_most, choices }
    }
}

/// The most tokens that a request's body can be: one for two bytes, 5,000 for each picture or sound in it.
#[must_use]
pub fn tokens_at_most(body: &[u8]) -> u64 {
    let (mut blobs, mut blob_bytes) = (0_u64, 0);
    let mut rest = body;
    while let Some(start) = memchr(b'"', rest) {
        rest = rest.get(start + 1..).unwrap_or_default();
        let string = &rest[..string_length(rest)];
        if is_blob(string) {
            blobs += 1;
            blob_bytes += string.len();
        }
        rest = rest.get(string.len() + 1..).unwrap_or_default();
    }
    (tokens(body.len() - blob_bytes) + blobs * BLOB_TOKENS).min(MOST_INPUT)
}

/// The length of a JSON string whose opening quote is before it; of all there is when it does not end.
pub(super) fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += found;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

fn is_blob(string: &[u8]) -> bool {
    if string.len() < BLOB_BYTES {
        return false;
    }
    const MARK: &[u8] = b";base64,";
    let head = &string[..128];
    let payload = memchr::memmem::find(head, MARK).map_or(string, |at| &string[at + MARK.len()..]);
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_');
    !payload.starts_with(PDF) && payload.iter().all(base64)
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN)
}

/// What was counted before the answer ended, and for the rest what it can have been.
pub(super) fn complete(reading: &Reading, bounds: &Bounds) -> Usage {
    let mut usage = reading.usage.clone();
    if usage.tokens_input() == 0 {
        usage.input = bounds.input_at_most;
    }
    let written = reading.text_bytes.div_ceil(BYTES_PER_TOKEN).min(bounds.output_at_most.unwrap_or(super::MOST_OF_ONE));
    usage.output += written.saturating_sub(usage.tokens_output());
    usage
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pictures_are_not_counted_by_their_bytes() {
        let picture = "iVBORw0KGgo".repeat(1000);
        let of = |data: &str| tokens_at_most(format!(r#"{{"image_url":"{data}"}}"#).as_bytes());
        assert_eq!(of(&format!("data:image/png;base64,{picture}")), 8 + BLOB_TOKENS);
        assert_eq!(of(&picture), 8 + BLOB_TOKENS);
        let pdf = format!("JVBERi0{picture}");
        assert_eq!(of(&pdf), tokens(pdf.len() + 16), "a document is not a picture");
        assert_eq!(of(&"a b ".repeat(1000)), 2008, "text is text");
        assert_eq!(tokens_at_most(&vec![b' '; 9_000_000]), MOST_INPUT);
    }

    #[test]
    fn an_estimate_is_bounded() {
        let reading = Reading { text_bytes: 1_000_000, ..Reading::default() };
        let usage = complete(&reading, &Bounds { input_at_most: 40, output_at_most: Some(1000), choices: 1 });
        assert_eq!((usage.input, usage.output), (40, 1000));
        let usage = complete(&Reading { text_bytes: 7, ..Reading::default() }, &Bounds::default());
        assert_eq!((usage.input, usage.output), (0, 4));
    }

    #[test]
    fn what_was_counted_stays() {
        let counted = Usage { input: 3, cache_read: 9, output: 1, ..Usage::default() };
        let reading = Reading { usage: counted, text_bytes: 100, ..Reading::default() };
        let usage = complete(&reading, &Bounds { input_at_most: 4000, ..Bounds::default() });
        assert_eq!((usage.input, usage.cache_read, usage.output), (3, 9, 50));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(tokens_at_most(&body) <= tokens(body.len()));
        }
    }
}
