//! The claims of a token whose signature has been verified.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tenantry_core::Slug;
use tenantry_postgres::VerifiedToken;

use crate::jwt::{JwtConfig, TokenError};

const MAX_SUBJECT: usize = 255;

/// Checks issuer, audience and times, and reads tenant, subject and scopes.
pub(crate) fn check(
    claims: Map<String, Value>,
    config: &JwtConfig,
    now: DateTime<Utc>,
) -> Result<VerifiedToken, TokenError> {
    let refuse = |claim: &str| TokenError::Claim(claim.to_owned());
    check_times(&claims, config, now)?;
    if claims.get("iss").and_then(Value::as_str) != Some(config.issuer.as_str()) {
        return Err(refuse("iss"));
    }
    let ours = |audience: &Value| audience.as_str().is_some_and(|a| config.audiences.iter().any(|own| own == a));
    let meant_for_us = match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(ours),
        Some(one) => ours(one),
        None => false,
    };
    if !meant_for_us {
        return Err(refuse("aud"));
    }
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .filter(|s| (1..=MAX_SUBJECT).contains(&s.len()) && !s.chars().any(char::is_control))
        .ok_or_else(|| refuse("sub"))?;
    let tenant_slug: Slug = claims
        .get(&config.tenant_claim)
        .and_then(Value::as_str)
        .and_then(|slug| slug.parse().ok())
        .ok_or_else(|| refuse(&config.tenant_claim))?;
    let scopes = scopes(claims.get(&config.scope_claim)).ok_or_else(|| refuse(&config.scope_claim))?;
    Ok(vouch(tenant_slug, subject.to_owned(), scopes))
}

#[expect(clippy::disallowed_methods, reason = "the signature was checked before the claims, and here the claims were")]
fn vouch(tenant_slug: Slug, subject: String, scopes: Vec<String>) -> VerifiedToken {
    VerifiedToken::vouch(tenant_slug, subject, scopes)
}

fn check_times(claims: &Map<String, Value>, config: &JwtConfig, now: DateTime<Utc>) -> Result<(), TokenError> {
    let refuse = |claim: &str| TokenError::Claim(claim.to_owned());
    // a NumericDate may have a fraction (RFC 7519 section 2); a double holds today's to the microsecond
    let number = |value: &Value| value.as_f64().filter(|n| n.is_finite());
    let leeway = config.leeway.as_secs_f64();
    let now = now.signed_duration_since(DateTime::<Utc>::UNIX_EPOCH).to_std().unwrap_or_default().as_secs_f64();
    let expires = claims.get("exp").and_then(number).ok_or_else(|| refuse("exp"))?;
    if now >= expires + leeway {
        return Err(TokenError::Expired);
    }
    match claims.get("nbf") {
        None => Ok(()),
        Some(value) if number(value).ok_or_else(|| refuse("nbf"))? > now + leeway => Err(TokenError::NotYetValid),
        Some(_) => Ok(()),
    }
}

fn scopes(claim: Option<&Value>) -> Option<Vec<String>> {
    match claim {
        None => Some(Vec::new()),
        Some(Value::String(text)) => Some(text.split_ascii_whitespace().map(str::to_owned).collect()),
        Some(Value::Array(list)) => list.iter().map(|scope| scope.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn verdict(change: Value) -> Result<VerifiedToken, TokenError> {
        let mut claims = json!({
            "iss": "https://id.test", "aud": "tenantry", "sub": "ada", "exp": NOW + 60, "tenant_slug": "acme",
        });
        for (name, value) in change.as_object().unwrap() {
            let object = claims.as_object_mut().unwrap();
            if value.is_null() {
                object.remove(name)
            } else {
                object.insert(name.clone(), value.clone())
            };
        }
        let now = Utc.timestamp_opt(NOW, 0).unwrap();
        check(claims.as_object().unwrap().clone(), &JwtConfig::new("https://id.test", "tenantry"), now)
    }

    fn claim(name: &str) -> Result<VerifiedToken, TokenError> {
        Err(TokenError::Claim(name.to_owned()))
    }

    fn same(got: Result<VerifiedToken, TokenError>, expected: Result<VerifiedToken, TokenError>) {
        assert_eq!(got.err(), expected.err());
    }

    #[test]
    fn a_good_token_says_who_and_for_whom() {
        let token = verdict(json!({ "scope": "agents:read  tasks:write" })).unwrap();
        assert_eq!((token.tenant_slug().as_str(), token.subject()), ("acme", "ada"));
        assert_eq!(token.scopes(), ["agents:read", "tasks:write"]);
        assert_eq!(verdict(json!({ "scope": ["a", "b"] })).unwrap().scopes(), ["a", "b"]);
        assert!(verdict(json!({ "aud": ["other", "tenantry"] })).is_ok());
    }

    #[test]
    fn every_claim_is_needed_and_checked() {
        for (name, bad) in [
            ("iss", json!("https://evil.test")),
            ("iss", json!(null)),
            ("iss", json!(["https://id.test"])),
            ("aud", json!("other")),
            ("aud", json!(null)),
            ("aud", json!([])),
            ("aud", json!({ "tenantry": true })),
            ("sub", json!("")),
            ("sub", json!(null)),
            ("sub", json!(7)),
            ("sub", json!("a\nb")),
            ("exp", json!(null)),
            ("exp", json!("1900000000")),
            ("nbf", json!("soon")),
            ("tenant_slug", json!(null)),
            ("tenant_slug", json!("x'; DROP SCHEMA tenant_bob; --")),
            ("tenant_slug", json!("admin")),
            ("scope", json!(7)),
            ("scope", json!(["a", 7])),
        ] {
            same(verdict(json!({ name: bad })), claim(name));
        }
    }

    #[test]
    fn times_have_a_leeway_of_thirty_seconds() {
        assert!(verdict(json!({ "exp": NOW - 29 })).is_ok());
        same(verdict(json!({ "exp": NOW - 30 })), Err(TokenError::Expired));
        assert!(verdict(json!({ "exp": NOW as f64 - 29.5 })).is_ok());
        same(verdict(json!({ "exp": 0 })), Err(TokenError::Expired));
        same(verdict(json!({ "exp": -1 })), Err(TokenError::Expired));
        assert!(verdict(json!({ "exp": 1e300 })).is_ok());
        assert!(verdict(json!({ "nbf": NOW + 30 })).is_ok());
        same(verdict(json!({ "nbf": NOW + 31 })), Err(TokenError::NotYetValid));
    }

    proptest! {
        #[test]
        fn no_claim_value_panics(name in "iss|aud|sub|exp|nbf|tenant_slug|scope", text in ".{0,40}", number: f64) {
            let _ = verdict(json!({ &name: text }));
            let _ = verdict(json!({ &name: number }));
            let _ = verdict(json!({ &name: [text, "x"] }));
        }
    }
}
