//! `Stripe-Signature`: `t=<seconds>,v1=<hex>[,v1=<hex>…]`, where `v1` is HMAC-SHA-256 of `<seconds>.<body>` under the endpoint's
//! signing secret (Stripe's documentation, "Verify webhook signatures manually"). Other schemes, such as `v0`, do not count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// More signatures than this are not looked at: each costs a computation.
const MOST_SIGNATURES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("`Stripe-Signature` is missing or not of the form `t=…,v1=…`")]
    Shape,
    #[error("the signature is not made with a secret of this endpoint")]
    Signature,
    #[error("the signature is too old, or the clocks are too far apart")]
    Time,
}

/// Whether a body was signed with one of the secrets, not longer ago than the tolerance.
pub(super) fn check(
    header: &str,
    body: &[u8],
    secrets: &[SecretString],
    tolerance: Duration,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    let (at, signatures) = parse(header).ok_or(Refused::Shape)?;
    let signed = |secret: &SecretString| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .expect("an HMAC takes a key of any length");
        mac.update(at.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    };
    // In the same time whatever differs: a caller learns nothing about the right signature.
    let fits = |secret| signatures.iter().any(|given| signed(secret).verify_slice(given).is_ok());
    if !secrets.iter().any(fits) {
        return Err(Refused::Signature);
    }
    let seconds: i64 = at.parse().map_err(|_| Refused::Shape)?;
    let apart = now.timestamp().abs_diff(seconds);
    if apart <= tolerance.as_secs() { Ok(()) } else { Err(Refused::Time) }
}

/// The time as it was written, which is what is signed, and the signatures.
fn parse(header: &str) -> Option<(&str, Vec<[u8; 32]>)> {
    let mut at = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) if at.is_none() => at = Some(value),
            // Two times could be read in two ways.
            Some(("t", _)) | None => return None,
            Some(("v1", value)) => signatures.extend(hex(value)),
            Some(_) => {}
        }
    }
    let at = at.filter(|at| (1..=12).contains(&at.len()) && at.bytes().all(|b| b.is_ascii_digit()))?;
    signatures.truncate(MOST_SIGNATURES);
    (!signatures.is_empty()).then_some((at, signatures))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;

    use super::*;

    const AT: i64 = 1_800_000_000;

    fn sign(secret: &str, at: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn verdict(header: &str, body: &str, now: i64) -> Result<(), Refused> {
        let secrets = ["whsec_old".to_owned().into(), "whsec_new".to_owned().into()];
        check(header, body.as_bytes(), &secrets, Duration::from_secs(300), Utc.timestamp_opt(now, 0).unwrap())
    }

    #[test]
    fn either_secret_counts_while_one_is_rotated() {
        for secret in ["whsec_old", "whsec_new"] {
            let header = format!("t={AT},v1={}", sign(secret, &AT.to_string(), "{}"));
            assert_eq!(verdict(&header, "{}", AT), Ok(()));
            assert_eq!(verdict(&header, "{ }", AT), Err(Refused::Signature), "another body");
        }
        let other = format!("t={AT},v1={}", sign("whsec_x", &AT.to_string(), "{}"));
        assert_eq!(verdict(&other, "{}", AT), Err(Refused::Signature));
        let both = format!("{other},v1={}", sign("whsec_new", &AT.to_string(), "{}"));
        assert_eq!(verdict(&both, "{}", AT), Ok(()), "one of several is enough");
    }

    #[test]
    fn a_known_answer() {
        // RFC 4231, test case 2, is HMAC-SHA-256 under "Jefe"; here it is split where the time ends.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let expected = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843").unwrap();
        assert!(mac.verify_slice(&expected).is_ok());
    }

    #[test]
    fn old_and_early_ones_are_refused() {
        let header = format!("t={AT},v1={}", sign("whsec_new", &AT.to_string(), "{}"));
        for (now, fine) in [(AT + 300, true), (AT - 300, true), (AT + 301, false), (AT - 301, false)] {
            assert_eq!(verdict(&header, "{}", now).is_ok(), fine, "{now}");
        }
        let moved = header.replace(&AT.to_string(), &(AT + 1000).to_string());
        assert_eq!(verdict(&moved, "{}", AT + 1000), Err(Refused::Signature), "the time is signed");
    }

    #[test]
    fn what_has_another_shape_is_refused() {
        let good = sign("whsec_new", &AT.to_string(), "{}");
        for header in [
            String::new(),
            "t=1".to_owned(),
            format!("v1={good}"),
            format!("t={AT},v0={good}"),
            format!("t={AT},t={AT},v1={good}"),
            format!("t=-{AT},v1={good}"),
            format!("t={AT}, v1={}", &good[1..]),
            format!("t={AT},v1={}", "é".repeat(32)),
            format!("t={AT};v1={good}"),
        ] {
            assert_eq!(verdict(&header, "{}", AT), Err(Refused::Shape), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in ".{0,120}", body in ".{0,20}") {
            prop_assert!(verdict(&header, &body, AT).is_err());
        }
    }
}
