//! Keys of an identity provider that come and go.

use std::time::Duration;

use isolation::server::{Answer, TestServer};
use jsonwebtoken::Algorithm;
use serde_json::json;
use tenantry_http::JwksConfig;

use super::get;
use super::tokens::{Jwks, claims, ed25519, ed25519_jwk, jwt_config, rsa, rsa_jwk, secret, sign};

async fn verdict(server: &TestServer, token: &str) -> (u16, String) {
    Answer::to(get(server).bearer_auth(token)).await.verdict()
}

/// Waits until a token gets an answer; keys are fetched in the background.
async fn until(server: &TestServer, token: &str, expected: (u16, &str)) {
    let mut last = (0, String::new());
    for _ in 0..1000 {
        last = verdict(server, token).await;
        if last == (expected.0, expected.1.to_owned()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the token is never answered with {expected:?}, but with {last:?}");
}

async fn trusting(url: String, max_age: Duration) -> TestServer {
    let jwks = JwksConfig { ttl: Duration::ZERO, min_interval: Duration::ZERO, max_age, ..JwksConfig::new(url) };
    let server = TestServer::with(|settings| {
        settings.http.jwt = Some(tenantry_http::JwtConfig { keys: Vec::new(), jwks: Some(jwks), ..jwt_config() });
    })
    .await;
    server.tenant("acme").await;
    server
}

#[tokio::test]
async fn a_new_key_is_taken_at_once_and_a_withdrawn_one_is_refused() {
    let (provider, url) = Jwks::serve(json!([rsa_jwk("first"), { "kty": "unknown", "kid": "other" }])).await;
    let server = trusting(url, Duration::from_secs(3600)).await;
    let claims = claims("acme", json!({}));
    let first = sign(Algorithm::RS256, Some("first"), &rsa("rsa2.key.pem"), &claims);
    let second = sign(Algorithm::EdDSA, Some("second"), &ed25519(), &claims);
    assert_eq!(verdict(&server, &first).await.0, 200);
    assert_eq!(verdict(&server, &second).await, (401, "invalid_credential".to_owned()), "not published yet");
    provider.publish(json!([rsa_jwk("first"), ed25519_jwk("second")]));
    assert_eq!(verdict(&server, &second).await.0, 200, "an unknown `kid` is looked for at once");
    assert_eq!(verdict(&server, &first).await.0, 200, "both are valid while the provider rotates");
    provider.publish(json!([ed25519_jwk("second")]));
    until(&server, &first, (401, "invalid_credential")).await;
    assert_eq!(verdict(&server, &second).await.0, 200);
    // the name of a public key does not make it another key's, nor a secret
    let named = sign(Algorithm::RS256, Some("second"), &rsa("rsa2.key.pem"), &claims);
    assert_eq!(verdict(&server, &named).await.0, 401);
    let confused = sign(Algorithm::HS256, Some("second"), &secret(), &claims);
    assert_eq!(verdict(&server, &confused).await.0, 401);
}

#[tokio::test]
async fn keys_outlive_a_provider_that_is_away_but_not_for_ever() {
    let (provider, url) = Jwks::serve(json!([rsa_jwk("first")])).await;
    let server = trusting(url, Duration::from_secs(2)).await;
    let token = sign(Algorithm::RS256, Some("first"), &rsa("rsa2.key.pem"), &claims("acme", json!({})));
    assert_eq!(verdict(&server, &token).await.0, 200);
    provider.break_down();
    until(&server, &token, (503, "token_keys_unavailable")).await;
    provider.publish(json!([rsa_jwk("first")]));
    until(&server, &token, (200, "")).await;
}

#[tokio::test]
async fn a_provider_that_never_answered_is_no_reason_to_believe() {
    let (provider, url) = Jwks::serve(json!([])).await;
    let server = trusting(url, Duration::from_secs(3600)).await;
    let token = sign(Algorithm::RS256, Some("first"), &rsa("rsa2.key.pem"), &claims("acme", json!({})));
    for document in [json!([]), json!("nonsense"), json!([{ "kty": "oct", "kid": "first", "k": "c2VjcmV0" }])] {
        provider.publish(document);
        let answer = Answer::to(get(&server).bearer_auth(&token)).await;
        assert_eq!(answer.verdict(), (503, "token_keys_unavailable".to_owned()));
        assert_eq!(answer.header("retry-after"), "5");
    }
    provider.break_down();
    assert_eq!(verdict(&server, &token).await.0, 503);
    provider.publish(json!([rsa_jwk("first")]));
    assert_eq!(verdict(&server, &token).await.0, 200, "it is believed as soon as it speaks");
}
