//! Requests that nobody sends by accident: refused by the HTTP parser or by us, never served and never a defect.

use isolation::server::{Answer, Tenant, TestServer};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::PATH;

/// The status of an answer as text.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// A request head with the tenant's key.
fn head(key: &Tenant, line: &str, headers: &str) -> Vec<u8> {
    let Tenant { key, .. } = key;
    format!("{line}\r\nX-Api-Key: {key}\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

#[tokio::test]
async fn heads_that_two_parsers_could_read_differently_are_refused() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    server.tenant("globex").await;
    let get = "GET /v1/agents HTTP/1.1";
    let post = "POST /v1/agents HTTP/1.1";
    let json = "Host: acme.app.test\r\nContent-Type: application/json\r\n";
    let refused = [
        ("two hosts", head(&acme, get, "Host: acme.app.test\r\nHost: globex.app.test\r\n")),
        ("the same host twice", head(&acme, get, "Host: acme.app.test\r\nHost: acme.app.test\r\n")),
        ("two hosts in one", head(&acme, get, "Host: acme.app.test, globex.app.test\r\n")),
        ("a host with user", head(&acme, get, "Host: acme.app.test@globex.app.test\r\n")),
        ("a host with path", head(&acme, get, "Host: acme.app.test/globex\r\n")),
        ("a slug with a space before the colon", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug : acme\r\n")),
        ("a folded header", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: acme\r\n globex\r\n")),
        ("a NUL in a value", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: acme\0\r\n")),
        ("a bare CR in a value", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: acme\rX: y\r\n")),
        ("injection", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: ' OR 1=1\r\n")),
        (
            "a statement",
            head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: x'; DROP SCHEMA tenant_globex CASCADE; --\r\n"),
        ),
        ("upper case", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: ACME\r\n")),
        ("an empty slug", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug:\r\n")),
        ("a schema", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: tenant_acme\r\n")),
        ("a long slug", head(&acme, get, &format!("Host: app.test\r\nX-Tenant-Slug: {}\r\n", "a".repeat(64)))),
        ("a homograph", head(&acme, get, "Host: app.test\r\nX-Tenant-Slug: аcme\r\n")),
        ("a huge header", head(&acme, get, &format!("Host: app.test\r\nX-Tenant-Slug: {}\r\n", "a".repeat(1 << 20)))),
        ("many headers", head(&acme, get, &format!("Host: app.test\r\n{}", "X-A: b\r\n".repeat(300)))),
        ("two lengths", head(&acme, post, &format!("{json}Content-Length: 2\r\nContent-Length: 3\r\n"))),
        ("a negative length", head(&acme, post, &format!("{json}Content-Length: -1\r\n"))),
        ("a signed length", head(&acme, post, &format!("{json}Content-Length: +2\r\n"))),
        ("a list of lengths", head(&acme, post, &format!("{json}Content-Length: 2, 3\r\n"))),
        ("an unknown coding", head(&acme, post, &format!("{json}Transfer-Encoding: cow\r\n"))),
        ("chunked not last", head(&acme, post, &format!("{json}Transfer-Encoding: chunked, gzip\r\n"))),
        ("no version", head(&acme, "GET /v1/agents", "Host: app.test\r\n")),
        ("another version", head(&acme, "GET /v1/agents HTTP/3.0", "Host: app.test\r\n")),
        ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("a space in the target", head(&acme, "GET /v1/agents /x HTTP/1.1", "Host: app.test\r\n")),
    ];
    for (what, bytes) in &refused {
        let answer = server.raw(bytes).await;
        // the parser may close without a word; what it says is a refusal
        assert!(answer.is_empty() || (400..500).contains(&status(&answer)), "{what}: {answer}");
    }
    assert_eq!(server.state.tenancy.db().stats().opened, 0, "nobody got as far as a connection");
    let fine = server.raw(&head(&acme, get, "Host: acme.app.test\r\n")).await;
    assert_eq!(status(&fine), 200, "the same without the trick is served: {fine}");
}

#[tokio::test]
async fn the_target_of_a_request_overrides_its_host() {
    let server = TestServer::start().await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    let host = |tenant: &Tenant| format!("Host: {}\r\n", tenant.subdomain());
    let line = |tenant: &Tenant| format!("GET http://{}/v1/agents HTTP/1.1", tenant.subdomain());
    let own = server.raw(&head(&acme, &line(&acme), &host(&globex))).await;
    assert_eq!(status(&own), 200, "{own}");
    let other = server.raw(&head(&acme, &line(&globex), &host(&acme))).await;
    assert_eq!(status(&other), 403, "{other}");
}

#[tokio::test]
async fn a_request_inside_another_ones_body_inherits_nothing() {
    let server = TestServer::start().await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    let inner = format!("GET /v1/agents HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", globex.subdomain());
    let json = "Host: acme.app.test\r\nContent-Type: application/json\r\n";
    for lengths in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"]
    {
        let outer =
            format!("POST /v1/agents HTTP/1.1\r\nX-Api-Key: {}\r\n{json}{lengths}\r\n0\r\n\r\n{inner}", acme.key);
        let answer = server.raw(outer.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "the inner request has no credential: {answer}");
        assert!((400..500).contains(&status(&answer)), "{answer}");
    }
}

#[tokio::test]
async fn paths_queries_and_bodies_of_any_bytes_are_refused_in_good_order() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let id = Uuid::new_v4();
    let paths = [
        "/v1/agents/%00".to_owned(),
        format!("/v1/agents/{id}%00"),
        format!("/v1/agents/{id}%0a"),
        "/v1/agents/%FF%FE".to_owned(),
        "/v1/agents/..%2Ftasks".to_owned(),
        "/v1/agents/%2e%2e%2f%2e%2e%2fadmin".to_owned(),
        "/v1/agents/1%20OR%201=1".to_owned(),
        "/v1/agents/';DROP%20SCHEMA%20tenant_acme;--".to_owned(),
        format!("/v1/agents/{}", "a".repeat(10_000)),
        "/v1/agents/%7B%7D".to_owned(),
        "/v1/agents/%".to_owned(),
        "/v1/agents/%zz".to_owned(),
        "/v1/agents?name=%00".to_owned(),
        "/v1/agents?role=a%00b".to_owned(),
        "/v1/agents?cursor=%00".to_owned(),
        "/v1/agents?cursor=AAAA".to_owned(),
        format!("/v1/agents?cursor={}", "A".repeat(5000)),
        "/v1/agents?limit=99999999999999999999".to_owned(),
        "/v1/agents?limit=-1".to_owned(),
        "/v1/agents?limit=1&limit=2".to_owned(),
        "/v1/agents?tenant_id=globex".to_owned(),
        "/v1/tasks?deadline_before=99999-01-01T00:00:00Z".to_owned(),
        "/v1/tasks?agent_id=%27".to_owned(),
    ];
    for path in &paths {
        let line = format!("GET {path} HTTP/1.1");
        let answer = server.raw(&head(&acme, &line, "Host: acme.app.test\r\n")).await;
        assert!((400..500).contains(&status(&answer)), "{path}: {answer}");
        assert!(answer.contains("application/problem+json") || status(&answer) == 414, "{path}: {answer}");
    }
    let encoded: String = id.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
    let answer = Answer::to(server.by(&acme, Method::GET, &format!("{PATH}/{encoded}"))).await;
    assert_eq!(answer.verdict().1, "agent_not_found", "an encoded id is the id");
    let bodies: [&[u8]; 6] = [
        b"\xff\xfe",
        b"{\"name\":\"\xff\",\"role\":\"x\"}",
        b"{\"name\":\"\\ud800\",\"role\":\"x\"}",
        b"{\"name\":\"a\\u0000\",\"role\":\"x\"}",
        b"{\"name\":1e999,\"role\":\"x\"}",
        b"[[[[",
    ];
    for body in bodies {
        let request = server.by(&acme, Method::POST, PATH).header("content-type", "application/json");
        let answer = Answer::to(request.body(body.to_vec())).await;
        assert!([400, 422].contains(&answer.status), "{answer:?}");
    }
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let request = server.by(&acme, Method::POST, PATH).header("content-type", "application/json").body(nested);
    assert!([400, 422].contains(&Answer::to(request).await.status), "depth does not exhaust the stack");
    let fine = json!({ "name": "fine", "role": "support" });
    assert_eq!(Answer::to(server.by(&acme, Method::POST, PATH).json(&fine)).await.status, 201);
}
