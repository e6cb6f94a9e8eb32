//! Takes a secret out of an answer, in every form in which a service might echo it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

const INSTEAD: &[u8] = b"[redacted]";

/// The forms of a secret.
pub(super) struct Scrubber {
    forms: Vec<Zeroizing<Vec<u8>>>,
}

impl Scrubber {
    pub(super) fn of(secret: &SecretString) -> Self {
        let text = secret.expose_secret();
        let mut forms: Vec<Vec<u8>> = vec![text.as_bytes().to_vec()];
        let json = serde_json::to_string(text).unwrap_or_default();
        forms.push(json.trim_matches('"').as_bytes().to_vec());
        forms.push(json.trim_matches('"').replace('/', "\\/").into_bytes());
        forms.push(html(text).into_bytes());
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        forms.push(hex.to_ascii_uppercase().into_bytes());
        forms.push(hex.into_bytes());
        let percent: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        forms.push(percent.replace('+', "%20").into_bytes());
        forms.push(lower_escapes(&percent).into_bytes());
        forms.push(percent.into_bytes());
        for offset in 0..3 {
            forms.push(base64(text.as_bytes(), offset, &STANDARD_NO_PAD));
            forms.push(base64(text.as_bytes(), offset, &URL_SAFE_NO_PAD));
        }
        forms.retain(|form| form.len() >= 6);
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Self { forms: forms.into_iter().map(Zeroizing::new).collect() }
    }

    /// The text without the secret.
    pub(super) fn clean(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.forms.iter().find(|form| rest.starts_with(form)) {
                Some(form) => {
                    out.extend_from_slice(INSTEAD);
                    rest = &rest[form.len()..];
                }
                None => {
                    out.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        out
    }

    /// Whether a text holds the secret.
    pub(super) fn finds(&self, bytes: &[u8]) -> bool {
        (0..bytes.len()).any(|at| self.forms.iter().any(|form| bytes[at..].starts_with(form)))
    }
}

/// What is certain of the base64 of the secret within something longer, where it begins at a multiple of three and `offset`:
/// the digits at the ends are shared with what stands beside it.
fn base64(secret: &[u8], offset: usize, engine: &base64::engine::GeneralPurpose) -> Vec<u8> {
    let padded = Zeroizing::new([&[0_u8; 2][..offset], secret].concat());
    let digits = engine.encode(&*padded).into_bytes();
    let from = [0, 2, 3][offset];
    let to = if padded.len() % 3 == 0 { digits.len() } else { digits.len() - 1 };
    digits[from.min(to)..to].to_vec()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn lower_escapes(percent: &str) -> String {
    let mut out = String::with_capacity(percent.len());
    let mut left = 0;
    for c in percent.chars() {
        if c == '%' {
            left = 3;
        }
        out.push(if left > 0 { c.to_ascii_lowercase() } else { c });
        left = usize::saturating_sub(left, 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn scrubber(secret: &str) -> Scrubber {
        Scrubber::of(&SecretString::from(secret.to_owned()))
    }

    #[test]
    fn every_usual_form_is_taken_out() {
        let secret = r#"s3cr3t/+&"'<x>%"#;
        let scrubber = scrubber(secret);
        let echoes = [
            secret.to_owned(),
            serde_json::to_string(&format!("you sent {secret}")).unwrap(),
            serde_json::to_string(secret).unwrap().replace('/', "\\/"),
            html(secret),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            STANDARD.encode(format!("user:{secret}")),
            STANDARD.encode(format!("u:{secret}!")),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(format!("us:{secret}")),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ];
        for echo in echoes {
            let cleaned = String::from_utf8(scrubber.clean(echo.as_bytes())).unwrap();
            assert!(cleaned.contains("[redacted]"), "{echo} became {cleaned}");
            assert!(scrubber.finds(echo.as_bytes()) && !scrubber.finds(cleaned.as_bytes()), "{echo}");
        }
        assert_eq!(scrubber.clean(b"nothing here"), b"nothing here");
    }

    proptest! {
        #[test]
        fn no_answer_holds_the_secret(
            secret in "[!-~]{8,40}",
            before in proptest::collection::vec(any::<u8>(), 0..40),
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let scrubber = scrubber(&secret);
            let answer = [&before, secret.as_bytes(), &after].concat();
            let cleaned = scrubber.clean(&answer);
            prop_assert!(!cleaned.windows(secret.len()).any(|part| part == secret.as_bytes()));
            let encoded = STANDARD.encode(&answer);
            let cleaned = scrubber.clean(encoded.as_bytes());
            let still = STANDARD.decode(&cleaned).unwrap_or_default();
            prop_assert!(!still.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }
}
