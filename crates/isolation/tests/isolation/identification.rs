//! Who is it, over a real port: everything that names a tenant against everything that proves one.

mod hostile;
mod proxies;
mod rotation;
mod streams;
mod tokens;

use isolation::server::{Answer, BASE_DOMAIN, Tenant, TestServer};
use jsonwebtoken::Algorithm;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::operations::refusals;
use tokens::{claims, ed25519, encode, jwt_config, p256, public_key_as_secret, rsa, secret, sign, token_for};

const PATH: &str = "/v1/agents";

async fn with_tokens() -> TestServer {
    TestServer::with(|settings| settings.http.jwt = Some(jwt_config())).await
}

/// Everything that proves a tenant.
fn credentials(tenant: &Tenant) -> Vec<(&'static str, &'static str, String)> {
    let claims = claims(&tenant.slug, json!({}));
    let bearer = |token: String| format!("Bearer {token}");
    vec![
        ("key as bearer", "authorization", bearer(tenant.key.clone())),
        ("key in x-api-key", "x-api-key", tenant.key.clone()),
        ("HS256", "authorization", bearer(sign(Algorithm::HS256, Some("hs"), &secret(), &claims))),
        ("RS256", "authorization", bearer(sign(Algorithm::RS256, Some("rs"), &rsa("rsa.key.pem"), &claims))),
        ("ES256", "authorization", bearer(sign(Algorithm::ES256, Some("es"), &p256(), &claims))),
        ("EdDSA", "authorization", bearer(sign(Algorithm::EdDSA, Some("ed"), &ed25519(), &claims))),
        ("no kid", "authorization", bearer(sign(Algorithm::EdDSA, None, &ed25519(), &claims))),
    ]
}

/// Everything that names a tenant.
fn names(tenant: &Tenant) -> Vec<(&'static str, String)> {
    vec![
        ("x-tenant-slug", tenant.slug.clone()),
        ("host", tenant.subdomain()),
        ("host", format!("{}:8080", tenant.subdomain().to_uppercase())),
        ("host", tenant.custom_host()),
    ]
}

fn get(server: &TestServer) -> RequestBuilder {
    server.request(Method::GET, PATH)
}

#[tokio::test]
async fn names_and_credentials_agree_or_the_request_ends() {
    let server = with_tokens().await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    let mut attempts = 0;
    for (what, header, credential) in credentials(&acme) {
        let with = || get(&server).header(header, &credential);
        assert_eq!(Answer::to(with()).await.status, 200, "{what} alone");
        for (naming, name) in names(&acme) {
            assert_eq!(Answer::to(with().header(naming, &name)).await.status, 200, "{what} and {naming}: {name}");
        }
        for (naming, name) in names(&globex) {
            let answer = Answer::to(with().header(naming, &name)).await;
            assert_eq!(answer.verdict(), (403, "tenant_mismatch".to_owned()), "{what} and {naming}: {name}");
            attempts += 1;
        }
        // a tenant that does not exist is refused in the same words as one that does
        for (naming, name) in [("x-tenant-slug", "nobody".to_owned()), ("host", format!("nobody.{BASE_DOMAIN}"))] {
            let answer = Answer::to(with().header(naming, &name)).await;
            assert_eq!(answer.verdict(), (403, "tenant_mismatch".to_owned()), "{what} and {naming}: {name}");
            assert_eq!(answer.json()["detail"], "the credential is not for the tenant that the request names");
            attempts += 1;
        }
    }
    // two names that disagree are refused even where one of them is right
    for host in [globex.subdomain(), globex.custom_host()] {
        for (slug, host) in [("acme", host.as_str()), ("globex", &acme.subdomain()), ("globex", &acme.custom_host())] {
            let request = server.by(&acme, Method::GET, PATH).header("x-tenant-slug", slug).header("host", host);
            assert_eq!(Answer::to(request).await.verdict().1, "tenant_mismatch", "{slug} and {host}");
            attempts += 1;
        }
    }
    assert_eq!(server.state.tenancy.counters().cross_tenant_attempts(), attempts);
    assert!(refusals(&server, attempts).await.iter().all(|row| row.slug == "acme"));
}

#[tokio::test]
async fn two_credentials_are_refused_rather_than_ranked() {
    let server = with_tokens().await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    let bearer = |credential: &str| ("authorization", format!("Bearer {credential}"));
    let key = |tenant: &Tenant| ("x-api-key", tenant.key.clone());
    let (both, token) = (key(&acme), token_for("acme"));
    let conflicting = [
        [bearer(&acme.key), key(&globex)],
        [bearer(&globex.key), key(&acme)],
        [key(&acme), key(&globex)],
        [bearer(&acme.key), bearer(&globex.key)],
        [bearer(&token), key(&acme)],
        [bearer(&token), bearer(&token_for("globex"))],
        [("authorization", "Basic YTpi".to_owned()), key(&acme)],
    ];
    for [first, second] in conflicting {
        let request = get(&server).header(first.0, &first.1).header(second.0, &second.1);
        let answer = Answer::to(request).await;
        assert_eq!(answer.verdict(), (400, "conflicting_credentials".to_owned()), "{first:?} {second:?}");
    }
    let twice = get(&server).header(both.0, &both.1).bearer_auth(&acme.key);
    assert_eq!(Answer::to(twice).await.status, 200, "the same credential in both headers is one");
    let slugs = server.by(&acme, Method::GET, PATH).header("x-tenant-slug", "acme").header("x-tenant-slug", "acme");
    assert_eq!(Answer::to(slugs).await.verdict(), (400, "invalid_tenant_identifier".to_owned()));
}

#[tokio::test]
async fn hosts_that_are_nobodys_name_no_tenant() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    // labels that could be read as a tenant if the first label of any host were one
    let foreign =
        [format!("acme.not{BASE_DOMAIN}"), format!("acme.{BASE_DOMAIN}.evil.example"), "acme.example.com".to_owned()];
    let platform = [
        BASE_DOMAIN.to_owned(),
        format!("{BASE_DOMAIN}."),
        format!("www.{BASE_DOMAIN}"),
        format!("api.{BASE_DOMAIN}"),
        format!("admin.{BASE_DOMAIN}"),
        format!("a.acme.{BASE_DOMAIN}"),
        format!("acme.x.{BASE_DOMAIN}"),
        "acme".to_owned(),
        "localhost".to_owned(),
        "localhost:8080".to_owned(),
        "127.0.0.1".to_owned(),
        "127.0.0.1:8080".to_owned(),
        "10.1.2.3".to_owned(),
        "[::1]:8080".to_owned(),
    ];
    for host in platform.iter().chain(&foreign) {
        let nobody = Answer::to(get(&server).header("host", host)).await;
        // whether a foreign host is some tenant's own is not looked up for somebody without a credential
        let expected =
            if foreign.contains(host) { (401, "credential_required") } else { (400, "tenant_identifier_required") };
        assert_eq!(nobody.verdict(), (expected.0, expected.1.to_owned()), "{host}");
        let own = Answer::to(server.by(&acme, Method::GET, PATH).header("host", host)).await;
        assert_eq!(own.status, 200, "{host} does not contradict a credential either: {}", own.text);
    }
    for host in
        ["127.1", "0x7f.1", "a..b", "acme app.test", "acme@app.test", "[::1", "acme.app.test:99999", "ä.app.test"]
    {
        let answer = Answer::to(server.by(&acme, Method::GET, PATH).header("host", host.as_bytes())).await;
        assert!(answer.status == 400, "{host}: {answer:?}");
    }
}

#[tokio::test]
async fn tokens_that_prove_nothing_are_refused() {
    let server = with_tokens().await;
    server.tenant("acme").await;
    let now = chrono::Utc::now().timestamp();
    let hs = |change| sign(Algorithm::HS256, Some("hs"), &secret(), &claims("acme", change));
    let good = token_for("acme");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let payload = message.split_once('.').unwrap().1;
    let forged = |header: serde_json::Value, signature: &str| format!("{}.{payload}.{signature}", encode(header));
    let other_payload = encode(claims("acme", json!({ "sub": "mallory" })));
    let confused = |kid, file| sign(Algorithm::HS256, kid, &public_key_as_secret(file), &claims("acme", json!({})));
    let refused = [
        ("alg none", forged(json!({ "alg": "none" }), "")),
        ("alg none with a kid", forged(json!({ "alg": "none", "kid": "hs" }), signature)),
        ("alg None", forged(json!({ "alg": "None" }), "")),
        ("alg hs256 in lower case", forged(json!({ "alg": "hs256", "kid": "hs" }), signature)),
        ("no alg", forged(json!({ "kid": "hs" }), signature)),
        ("another alg", forged(json!({ "alg": "HS512", "kid": "hs" }), signature)),
        (
            "critical extension",
            forged(json!({ "alg": "HS256", "kid": "hs", "crit": ["b64"], "b64": false }), signature),
        ),
        ("RSA public key as secret", confused(Some("rs"), "rsa.pub.pem")),
        ("RSA public key as secret, no kid", confused(None, "rsa.pub.pem")),
        ("EC public key as secret", confused(Some("es"), "p256.pub.pem")),
        ("Ed25519 public key as secret", confused(Some("ed"), "ed25519.pub.pem")),
        (
            "another key of the kind",
            sign(Algorithm::RS256, Some("rs"), &rsa("rsa2.key.pem"), &claims("acme", json!({}))),
        ),
        ("unknown kid", sign(Algorithm::HS256, Some("no"), &secret(), &claims("acme", json!({})))),
        ("kid of another algorithm", sign(Algorithm::HS256, Some("ed"), &secret(), &claims("acme", json!({})))),
        ("kid with a path", sign(Algorithm::HS256, Some("../../etc/passwd"), &secret(), &claims("acme", json!({})))),
        ("kid with SQL", sign(Algorithm::HS256, Some("' OR 1=1 --"), &secret(), &claims("acme", json!({})))),
        ("no signature", format!("{message}.")),
        ("cut signature", format!("{message}.{}", &signature[..20])),
        ("other payload", format!("{}.{other_payload}.{signature}", message.split_once('.').unwrap().0)),
        ("four parts", format!("{good}.x")),
        ("two parts", message.to_owned()),
        ("not base64", format!("{message}.@@@")),
        ("wrong issuer", hs(json!({ "iss": "https://evil.example" }))),
        ("issuer as list", hs(json!({ "iss": ["https://id.example"] }))),
        ("no issuer", hs(json!({ "iss": null }))),
        ("wrong audience", hs(json!({ "aud": "another" }))),
        ("no audience", hs(json!({ "aud": null }))),
        ("empty audiences", hs(json!({ "aud": [] }))),
        ("expired beyond the leeway", hs(json!({ "exp": now - 60 }))),
        ("no expiry", hs(json!({ "exp": null }))),
        ("expiry as text", hs(json!({ "exp": (now + 600).to_string() }))),
        ("not valid yet", hs(json!({ "nbf": now + 600 }))),
        ("not before as text", hs(json!({ "nbf": "tomorrow" }))),
        ("no subject", hs(json!({ "sub": null }))),
        ("empty subject", hs(json!({ "sub": "" }))),
        ("subject with a line break", hs(json!({ "sub": "a\nb" }))),
        ("no tenant", hs(json!({ "tenant_slug": null }))),
        ("tenant as list", hs(json!({ "tenant_slug": ["acme"] }))),
        ("tenant that is no slug", hs(json!({ "tenant_slug": "acme'; DROP SCHEMA tenant_acme; --" }))),
        ("reserved tenant", hs(json!({ "tenant_slug": "www" }))),
        ("huge", hs(json!({ "padding": "x".repeat(20_000) }))),
    ];
    for (what, token) in &refused {
        let answer = Answer::to(get(&server).bearer_auth(token)).await;
        assert_eq!(answer.verdict(), (401, "invalid_credential".to_owned()), "{what}: {}", answer.text);
        assert!(
            !answer.text.contains("kid") && !answer.text.contains("issuer"),
            "{what} tells too much: {}",
            answer.text
        );
    }
    assert_eq!(server.state.tenancy.db().stats().opened, 0, "nobody got as far as a connection");
    let unknown = Answer::to(get(&server).bearer_auth(token_for("nobody"))).await;
    assert_eq!(unknown.verdict(), (403, "invalid_tenant".to_owned()));
    let in_api_key = Answer::to(get(&server).header("x-api-key", &good)).await;
    assert_eq!(in_api_key.verdict(), (401, "invalid_credential".to_owned()), "a token is no API key");
    let accepted = [
        ("the good one", good),
        ("expired within the leeway", hs(json!({ "exp": now - 5 }))),
        ("valid in a moment", hs(json!({ "nbf": now + 10 }))),
        ("one of several audiences", hs(json!({ "aud": ["another", "tenantry"] }))),
        (
            "a fraction of a second",
            hs(json!({ "exp": 0.5 + 600.0 + chrono::Utc::now().timestamp_millis() as f64 / 1000.0 })),
        ),
    ];
    for (what, token) in accepted {
        let answer = Answer::to(get(&server).bearer_auth(token)).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    }
}

#[tokio::test]
async fn without_configured_keys_no_token_is_believed() {
    let server = TestServer::start().await;
    server.tenant("acme").await;
    let answer = Answer::to(get(&server).bearer_auth(token_for("acme"))).await;
    assert_eq!(answer.verdict(), (401, "invalid_credential".to_owned()));
}
