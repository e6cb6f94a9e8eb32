//! A stream of events lives as long as the token that opened it.

use std::time::{Duration, Instant};

use chrono::Utc;
use isolation::server::TestServer;
use isolation::stream::Stream;
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::json;

use super::tokens::{claims, jwt_config, secret, sign};

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let server = TestServer::with(|settings| {
        settings.http.jwt = Some(tenantry_http::JwtConfig { leeway: Duration::ZERO, ..jwt_config() });
    })
    .await;
    server.tenant("acme").await;
    let expires = Utc::now().timestamp() + 3;
    let token = sign(Algorithm::HS256, Some("hs"), &secret(), &claims("acme", json!({ "exp": expires })));
    let mut stream = Stream::open(server.request(Method::GET, "/v1/events").bearer_auth(token)).await;
    let left = Duration::from_millis(u64::try_from(expires * 1000 - Utc::now().timestamp_millis()).unwrap());
    let began = Instant::now();
    assert_eq!(stream.end().await, "invalid_credential");
    let late = began.elapsed().checked_sub(left).expect("not before it expires");
    // a token is good to the end of the second that it names
    assert!(late < Duration::from_secs(2), "{late:?}");
}
