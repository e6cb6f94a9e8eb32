use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use isolation::server::{Answer, TestServer};
use isolation::tokens;
use reqwest::Method;
use serde_json::{Value, json};

use crate::company::{Company, at, pointers, refusal};

impl Company {
    /// A request with another key of the company.
    pub(crate) async fn key_sends(&self, key: &Value, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.server.request(method, path).bearer_auth(key["token"].as_str().unwrap());
        Answer::to(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }
}

#[tokio::test]
async fn a_key_can_do_what_its_scopes_say_until_it_is_revoked() {
    let company = Company::open().await;
    let made = company.post("/v1/keys", json!({ "name": "ci", "scopes": ["agents:read"] })).await;
    let (address, key) = (made.header("location").to_owned(), made.json());
    assert_eq!((made.status, address.as_str()), (201, at("keys", &key).as_str()));
    assert_eq!(company.key_sends(&key, Method::GET, "/v1/agents", None).await.status, 200);
    let denied = company.key_sends(&key, Method::POST, "/v1/agents", Some(json!({ "name": "x", "role": "y" }))).await;
    assert_eq!(denied.verdict(), refusal(403, "permission_denied"));
    assert_eq!(denied.json()["permission"], "agents:write");
    assert_eq!(company.key_sends(&key, Method::GET, "/v1/tasks", None).await.verdict().0, 403);

    let shown = company.get(&address).await.json();
    assert_eq!(
        (&shown["name"], &shown["scopes"], &shown["token"]),
        (&json!("ci"), &json!(["agents:read"]), &Value::Null)
    );
    let listed = company.get("/v1/keys?limit=1").await.json();
    assert_eq!(listed["data"], json!([shown]), "the latest first");
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = company.get(&format!("/v1/keys?cursor={cursor}")).await.json();
    assert_eq!(rest["data"][0]["id"], company.tenant.key_id);

    let revoked = company.delete(&address).await;
    assert!(revoked.status == 200 && revoked.json()["revoked_at"].is_string(), "{}", revoked.text);
    assert_eq!(company.delete(&address).await.text, revoked.text, "revoking again changes nothing");
    let deadline = Instant::now() + Duration::from_secs(10);
    while company.key_sends(&key, Method::GET, "/v1/agents", None).await.status != 401 {
        assert!(Instant::now() < deadline, "a revoked key is good for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let actions: Vec<String> = company
        .events(&format!("key/{}", key["id"].as_str().unwrap()))
        .await
        .into_iter()
        .map(|(action, _)| action)
        .collect();
    assert_eq!(actions, ["key.create", "key.revoke"]);
}

#[tokio::test]
async fn a_key_is_given_no_more_than_its_maker_has() {
    let server = TestServer::with(|settings| settings.http.jwt = Some(tokens::accepting())).await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let soon = Utc::now() + TimeDelta::hours(1);
    let body = json!({ "name": "maker", "scopes": ["keys:write", "agents:read"], "expires_at": soon });
    let maker = company.make("/v1/keys", body).await;
    let later = soon + TimeDelta::seconds(1);
    for (body, verdict) in [
        (json!({ "name": "a", "scopes": ["agents:read"], "expires_at": soon }), (201, String::new())),
        (json!({ "name": "b", "scopes": ["agents:read"], "expires_at": later }), refusal(422, "validation_failed")),
        (json!({ "name": "c", "scopes": ["agents:read"] }), refusal(422, "validation_failed")),
        (json!({ "name": "d", "scopes": ["agents:write"], "expires_at": soon }), refusal(403, "permission_denied")),
        (json!({ "name": "e", "scopes": ["*"], "expires_at": soon }), refusal(403, "permission_denied")),
        (json!({ "name": "f", "scopes": [], "expires_at": soon }), refusal(403, "permission_denied")),
    ] {
        let answer = company.key_sends(&maker, Method::POST, "/v1/keys", Some(body.clone())).await;
        assert_eq!(answer.verdict(), verdict, "{body}: {}", answer.text);
    }
    // an admin has everything but what owners have
    company.make("/v1/members", json!({ "subject": "adam", "role": "admin" })).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let by_adam = |body: Value| {
        Answer::to(
            company.server.request(Method::POST, "/v1/keys").bearer_auth(tokens::token("acme", "adam")).json(&body),
        )
    };
    let mut made = by_adam(json!({ "name": "by adam", "scopes": ["tasks:write"] })).await;
    while made.status == 403 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
        made = by_adam(json!({ "name": "by adam", "scopes": ["tasks:write"] })).await;
    }
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn keys_that_make_no_sense_are_refused() {
    let company = Company::open().await;
    let past = Utc::now() - TimeDelta::seconds(1);
    for (body, code, pointer) in [
        (json!({ "name": "" }), "validation_failed", "/name"),
        (json!({ "name": "a\0" }), "validation_failed", "/name"),
        (json!({ "name": "x", "scopes": ["agents:read", "agents:fly"] }), "validation_failed", "/scopes/1"),
        (json!({ "name": "x", "scopes": ["AGENTS:READ"] }), "validation_failed", "/scopes/0"),
        (json!({ "name": "x", "expires_at": past }), "validation_failed", "/expires_at"),
        (json!({ "name": "x", "requests_per_minute": 0 }), "validation_failed", "/requests_per_minute"),
        (json!({ "name": "x", "expires_at": "soon" }), "invalid_body", "/expires_at"),
        (json!({ "name": "x", "scope": [] }), "invalid_body", "/scope"),
    ] {
        let answer = company.post("/v1/keys", body.clone()).await;
        assert_eq!(answer.verdict(), refusal(422, code), "{body}: {}", answer.text);
        assert_eq!(pointers(&answer), [pointer], "{body}");
    }
}

/// What was made stays made: a request that is repeated after the end that it asked for is answered as before, and one that comes
/// for the first time is refused.
#[tokio::test]
async fn a_request_is_answered_again_when_its_end_has_passed() {
    let company = Company::open().await;
    let end = Utc::now() + TimeDelta::seconds(2);
    let body = json!({ "name": "short", "expires_at": end });
    let send = |key: &str| {
        let request = company.server.by(&company.tenant, Method::POST, "/v1/keys").header("idempotency-key", key);
        Answer::to(request.json(&body))
    };
    let first = send("k").await;
    assert_eq!(first.status, 201, "{}", first.text);
    loop {
        let passed = Utc::now() > end;
        let again = send("k").await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        if passed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let late = send("another").await;
    assert_eq!((late.verdict(), pointers(&late)), (refusal(422, "validation_failed"), vec!["/expires_at".to_owned()]));
}

#[tokio::test]
async fn a_key_sends_as_many_requests_as_it_was_made_for() {
    let company = Company::open().await;
    let maker = json!({ "name": "maker", "requests_per_minute": 3 });
    let maker = company.make("/v1/keys", maker).await;
    assert_eq!(company.get(&at("keys", &maker)).await.json()["requests_per_minute"], 3);
    for (limit, verdict) in [
        (json!(3), (201, String::new())),
        (json!(4), refusal(422, "validation_failed")),
        (Value::Null, refusal(422, "validation_failed")),
    ] {
        let body = json!({ "name": "made", "requests_per_minute": limit });
        let answer = company.key_sends(&maker, Method::POST, "/v1/keys", Some(body)).await;
        assert_eq!(answer.verdict(), verdict, "{limit}: {}", answer.text);
    }
    let fourth = company.key_sends(&maker, Method::GET, "/v1/me", None).await;
    assert_eq!((fourth.verdict(), &fourth.json()["scope"]), (refusal(429, "rate_limited"), &json!("key")));
    let events = company.events(&format!("key/{}", maker["id"].as_str().unwrap())).await;
    assert_eq!((events[0].0.as_str(), &events[0].1["requests_per_minute"]), ("key.create", &json!(3)));
}

#[tokio::test]
async fn a_key_that_ends_is_refused_from_then_on() {
    let company = Company::open().await;
    let end = Utc::now() + TimeDelta::seconds(2);
    let key = company.make("/v1/keys", json!({ "name": "short", "expires_at": end })).await;
    assert_eq!(company.key_sends(&key, Method::GET, "/v1/me", None).await.status, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = company.key_sends(&key, Method::GET, "/v1/me", None).await;
        if answer.status == 401 {
            assert!(Utc::now() >= end, "not before its end");
            return;
        }
        assert!(Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The token is in no table, and yet the same request gets it again: from another server, too, as after a crash of the first.
#[tokio::test]
async fn the_same_request_gets_the_same_token() {
    let company = Company::open().await;
    let body = json!({ "name": "ci", "scopes": ["agents:read"] });
    let send = |server: &TestServer, key: &str| {
        let request = server.by(&company.tenant, Method::POST, "/v1/keys").header("idempotency-key", key);
        Answer::to(request.json(&body))
    };
    let answers = join_all((0..6).map(|_| send(&company.server, "k-1"))).await;
    let token = answers[0].json()["token"].as_str().unwrap().to_owned();
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (201, &answers[0].text));
    }
    let restarted = TestServer::on(company.server.database.clone(), |_| {}).await;
    let again = send(&restarted, "k-1").await;
    assert_eq!((again.status, &again.text, again.header("idempotency-replayed")), (201, &answers[0].text, "true"));
    let listed = company.get("/v1/keys").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "the first key, and one more");
    assert_ne!(send(&restarted, "k-2").await.json()["token"], token.as_str());
    let used = restarted.request(Method::GET, "/v1/agents").bearer_auth(&token);
    assert_eq!(Answer::to(used).await.status, 200);

    let secret = token.splitn(3, '_').nth(2).unwrap();
    let admin = company.server.database.admin().await;
    let sql = "SELECT count(*) FILTER (WHERE position($1 IN r.line) > 0), count(*) FILTER (WHERE r.line LIKE '%k-1%'), count(*) FROM ( \
                 SELECT i::text AS line FROM public.idempotent_requests i \
                 UNION ALL SELECT k::text FROM public.tenant_api_keys k UNION ALL SELECT e::text FROM audit.events e) r";
    let row = admin.query_one(sql, &[&secret]).await.unwrap();
    let (with_secret, with_key, all): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((with_secret, with_key), (0, 0));
    assert!(all > 3, "there is something to search");
    // a key of another caller with the same idempotency key is another request
    let other = company.make("/v1/keys", json!({ "name": "other" })).await;
    let request = company.server.request(Method::POST, "/v1/keys").bearer_auth(other["token"].as_str().unwrap());
    let theirs = Answer::to(request.header("idempotency-key", "k-1").json(&body)).await;
    assert_eq!((theirs.status, theirs.header("idempotency-replayed")), (201, ""));
    assert_ne!(theirs.json()["token"], token.as_str());
}
