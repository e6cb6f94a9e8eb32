//! Posts to a tenant's own address, signed as [Standard Webhooks](https://www.standardwebhooks.com) say: the receiver checks
//! `webhook-signature` with the secret that both know, and knows a repetition by `webhook-id`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;
use workforce::keychain::Egress;
use workforce::keychain::egress::{Delivery, EgressError, check_path, check_service};

const PREFIX: &str = "whsec_";
const MAX_URL: usize = 2048;

/// The pauses after an attempt that failed: the schedule that Standard Webhooks recommend. After the last one nobody tries any more.
const PAUSES: [u64; 9] = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];

/// How long to wait after so many attempts, if there is to be another.
pub(crate) fn pause_after(attempts: i32) -> Option<Duration> {
    let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
    PAUSES.get(index).map(|seconds| Duration::from_secs(*seconds))
}

/// Where a post goes: a host, and a path at it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) service: &'a str,
    pub(crate) path: &'a str,
}

impl<'a> Target<'a> {
    /// Takes an address apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(url: &'a str) -> Result<Self, &'static str> {
        const WRONG: &str = "must be an `https` address of a public host, such as `https://hooks.example.com/budgets`";
        let rest = url.strip_prefix("https://").filter(|_| url.len() <= MAX_URL).ok_or(WRONG)?;
        let (service, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        check_service(service).and_then(|()| check_path(path)).map_err(|_| WRONG)?;
        Ok(Self { service, path })
    }
}

/// Whether a text can be a secret.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_secret(text: &str) -> Result<(), &'static str> {
    const WRONG: &str = "must be `whsec_` and 24 to 64 bytes in base64";
    key(text).map(|_| ()).ok_or(WRONG)
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
}

/// A post, complete.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    /// The same for each attempt.
    pub(crate) id: Uuid,
    pub(crate) url: &'a str,
    pub(crate) secret: &'a SecretString,
    pub(crate) body: &'a Value,
    /// When this attempt is made.
    pub(crate) at: DateTime<Utc>,
}

/// Posts once, and gives the receiver's status.
///
/// # Errors
/// [`EgressError`].
pub(crate) async fn post(egress: &Egress, post: &Post<'_>) -> Result<u16, EgressError> {
    let refused = |what: &'static str| EgressError::Refused(what.to_owned());
    let target = Target::parse(post.url).map_err(refused)?;
    let body = post.body.to_string();
    let signature = signature(post.secret, post.id, post.at.timestamp(), &body)
        .ok_or_else(|| refused("the webhook's secret cannot be used"))?;
    let id = post.id.to_string();
    let at = post.at.timestamp().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id.as_str()),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    egress.deliver(&Delivery { service: target.service, path: target.path, headers: &headers, body }).await
}

/// `v1,` and the HMAC-SHA256 of id, time and body, in base64.
fn signature(secret: &SecretString, id: Uuid, at: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret.expose_secret())?).ok()?;
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_and_paths() {
        let parts = |url| Target::parse(url).map(|target| (target.service, target.path)).ok();
        assert_eq!(parts("https://hooks.example.com:8443/a?b=c"), Some(("hooks.example.com:8443", "/a?b=c")));
        assert_eq!(parts("https://hooks.example.com"), Some(("hooks.example.com", "/")));
        for bad in [
            "",
            "http://hooks.example.com/",
            "HTTPS://hooks.example.com/",
            "https://",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://user@hooks.example.com/",
            "https://hooks.example.com?x",
            "https://hooks.example.com#x",
            "https://hooks.example.com\\@10.0.0.1/",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    /// The message, the secret and the signature of the specification's own example, but for the id, which is a UUID here; the expected value
    /// was computed with another implementation of HMAC.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let id = Uuid::parse_str("0190a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b").unwrap();
        let signed = signature(&secret, id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,sHTMq2p+BwuhHV8RIDeOMwqGWgtTNkjoZzyE3THFsf0="));
        assert!(check_secret("whsec_c2hvcnQ=").is_err() && check_secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err());
    }

    #[test]
    fn attempts_come_to_an_end() {
        assert_eq!(pause_after(1), Some(Duration::from_secs(5)));
        assert_eq!((pause_after(9), pause_after(10)), (Some(Duration::from_secs(86_400)), None));
    }
}
