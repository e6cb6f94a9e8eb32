use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike as _, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{Error, Patch};

/// The most a JSON value of a body may take, in bytes of its text.
const MAX_JSON_BYTES: usize = 64 * 1024;
/// The years a date may lie in. PostgreSQL and chrono have wider ranges, but not the same.
const YEARS: RangeInclusive<i32> = 1970..=9999;

/// What is wrong with one member of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) to the member.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A body whose rules can be checked before any connection is taken.
pub trait Validate: Sized {
    /// Reports every broken rule.
    fn check(&self, checks: &mut Checks);

    /// The body as proof that its rules hold, or all broken rules at once.
    fn validated(self) -> Result<Valid<Self>, Error> {
        let mut checks = Checks::default();
        self.check(&mut checks);
        if checks.errors.is_empty() { Ok(Valid(self)) } else { Err(Error::Invalid(checks.errors)) }
    }
}

/// A value that passed [`Validate`]; the store takes nothing else.
#[derive(Debug, Clone)]
pub struct Valid<T>(T);

impl<T> std::ops::Deref for Valid<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Collects broken rules.
#[derive(Debug, Default)]
pub struct Checks {
    errors: Vec<FieldError>,
}

impl Checks {
    /// Reports a broken rule.
    pub fn fail(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
    }

    /// Checks a part of the body, whose pointers begin with `pointer`.
    pub fn under(&mut self, pointer: &str, check: impl FnOnce(&mut Self)) {
        let mut part = Self::default();
        check(&mut part);
        let errors = part.errors.into_iter();
        self.errors.extend(errors.map(|error| FieldError { pointer: format!("{pointer}{}", error.pointer), ..error }));
    }

    /// One line of text, `1..=max` characters, such as a name or a title.
    pub fn line(&mut self, pointer: &str, text: &str, max: usize) {
        let length = text.chars().count();
        if length == 0 || length > max {
            self.fail(pointer, format!("must have 1 to {max} characters, has {length}"));
        } else if text.chars().any(char::is_control) {
            self.fail(pointer, "must not contain control characters");
        } else if text.trim() != text {
            self.fail(pointer, "must not start or end with white space");
        }
    }

    /// Free text of at most `max` bytes.
    pub fn prose(&mut self, pointer: &str, text: &str, max: usize) {
        if text.len() > max {
            self.fail(pointer, format!("must have at most {max} bytes, has {}", text.len()));
        } else if text.contains('\0') {
            // PostgreSQL's text cannot hold it.
            self.fail(pointer, "must not contain NUL characters");
        }
    }

    /// Any JSON value that PostgreSQL can store.
    pub fn json(&mut self, pointer: &str, value: &Value) {
        let length = value.to_string().len();
        if length > MAX_JSON_BYTES {
            self.fail(pointer, format!("must have at most {MAX_JSON_BYTES} bytes as JSON, has {length}"));
        } else if has_nul(value) {
            self.fail(pointer, "must not contain NUL characters");
        }
    }

    /// A number within bounds.
    pub fn number(&mut self, pointer: &str, value: i64, bounds: RangeInclusive<i64>) {
        if !bounds.contains(&value) {
            self.fail(pointer, format!("must be {} to {}, is `{value}`", bounds.start(), bounds.end()));
        }
    }

    /// An instant that every part of the system can represent.
    pub fn instant(&mut self, pointer: &str, at: DateTime<Utc>) {
        if !is_sane_instant(at) {
            self.fail(pointer, format!("must lie in the years {} to {}", YEARS.start(), YEARS.end()));
        }
    }

    /// The name of a provider as the price catalogue writes it.
    pub fn provider(&mut self, pointer: &str, text: &str) {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fine = (1..=63).contains(&text.len())
            && text.bytes().all(|b| word(b) || matches!(b, b'_' | b'.' | b'-'))
            && text.bytes().next().is_some_and(word);
        if !fine {
            self.fail(pointer, "must have 1 to 63 of a-z, 0-9, `_`, `.` and `-`, and start with a letter or digit");
        }
    }

    /// A member of a patch that can be set but not cleared; gives the new value.
    pub fn required<'p, T>(&mut self, pointer: &str, patch: &'p Patch<T>) -> Option<&'p T> {
        if matches!(patch, Patch::Clear) {
            self.fail(pointer, "must not be null");
        }
        patch.value()
    }
}

/// Whether an instant lies within the years that are accepted.
pub(crate) fn is_sane_instant(at: DateTime<Utc>) -> bool {
    YEARS.contains(&at.year())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn errors(check: impl FnOnce(&mut Checks)) -> usize {
        let mut checks = Checks::default();
        check(&mut checks);
        checks.errors.len()
    }

    #[test]
    fn lines_have_bounds_and_no_control_characters() {
        assert_eq!(errors(|c| c.line("/name", "Ünïcödé agent", 13)), 0);
        for bad in ["", " a", "a ", "a\nb", "a\0b", &"x".repeat(14)] {
            assert_eq!(errors(|c| c.line("/name", bad, 13)), 1, "{bad:?}");
        }
    }

    #[test]
    fn nul_is_found_at_any_depth() {
        for bad in [json!("a\0"), json!([["\0"]]), json!({"a": {"\0": 1}})] {
            assert_eq!(errors(|c| c.json("/x", &bad)), 1, "{bad}");
        }
        assert_eq!(errors(|c| c.json("/x", &json!({"a": [1, null, "b"]}))), 0);
    }

    #[test]
    fn providers_are_an_open_set_of_words() {
        for fine in ["openai", "azure_openai", "agents_api", "google_code_assist", "x.ai-2"] {
            assert_eq!(errors(|c| c.provider("/p", fine)), 0, "{fine}");
        }
        for bad in ["", "OpenAI", "-a", "a b", &"a".repeat(64)] {
            assert_eq!(errors(|c| c.provider("/p", bad)), 1, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_line_is_storable(text in any::<String>()) {
            if errors(|c| c.line("/x", &text, 200)) == 0 {
                prop_assert!(!text.contains('\0') && (1..=200).contains(&text.chars().count()));
            }
        }
    }
}
