use std::borrow::Cow;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::Checks;

/// The fewest characters of a secret: what is shorter could be guessed, and could not be told from other text in an answer.
pub(crate) const MIN_SECRET_CHARS: usize = 8;
/// The most bytes of a secret.
pub(crate) const MAX_SECRET_BYTES: usize = 16 * 1024;
/// So many characters at its end are shown again, and only of a secret that is this long.
const HINT_CHARS: usize = 4;
const HINT_FROM: usize = 16;

/// A secret in a body: taken, never given back, never printed.
#[derive(Clone)]
pub struct WriteOnly(SecretString);

impl WriteOnly {
    /// The secret, to be sealed.
    #[must_use]
    pub const fn secret(&self) -> &SecretString {
        &self.0
    }

    /// What a person may recognise it by: its last four characters, where it is long enough to lose them.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        hint(&self.0)
    }

    /// The rules of every secret: visible ASCII, as it goes into a header.
    pub(crate) fn check(&self, checks: &mut Checks, pointer: &str) {
        let text = self.0.expose_secret();
        if text.len() < MIN_SECRET_CHARS || text.len() > MAX_SECRET_BYTES {
            checks.fail(pointer, format!("must have {MIN_SECRET_CHARS} to {MAX_SECRET_BYTES} characters"));
        } else if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') || text.trim() != text {
            checks.fail(pointer, "must be visible ASCII characters, without white space at its ends");
        }
    }
}

/// The last characters of a secret.
pub(crate) fn hint(secret: &SecretString) -> Option<String> {
    let text = secret.expose_secret();
    let start = text.len().checked_sub(HINT_CHARS).filter(|_| text.len() >= HINT_FROM)?;
    text.get(start..).map(str::to_owned)
}

impl fmt::Debug for WriteOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteOnly(..)")
    }
}

impl<'de> Deserialize<'de> for WriteOnly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl PartialSchema for WriteOnly {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .min_length(Some(MIN_SECRET_CHARS))
            .max_length(Some(MAX_SECRET_BYTES))
            .write_only(true)
            .into()
    }
}

impl ToSchema for WriteOnly {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_secret_shows_its_end() {
        let hint = |text: &str| WriteOnly(text.to_owned().into()).hint();
        assert_eq!(hint("sk-1234567890abcdef").as_deref(), Some("cdef"));
        assert_eq!(hint("hunter2hunter2"), None);
        assert_eq!(format!("{:?}", WriteOnly("hunter2".to_owned().into())), "WriteOnly(..)");
    }
}
