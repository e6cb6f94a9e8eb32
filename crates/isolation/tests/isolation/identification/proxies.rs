//! What `X-Forwarded-*` says counts only when a configured proxy says it.

use isolation::server::{Answer, Tenant, TestServer};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::PATH;

async fn behind(proxies: &[&str]) -> (TestServer, Tenant, Tenant) {
    let networks: Vec<_> = proxies.iter().map(|network| network.parse().unwrap()).collect();
    let server = TestServer::with(|settings| {
        settings.http.trusted_proxies = tenantry_http::TrustedProxies::new(networks);
    })
    .await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    (server, acme, globex)
}

/// The client that the audit row of a new agent names.
async fn audited_client(server: &TestServer, request: RequestBuilder, name: &str) -> String {
    let made = Answer::to(request.json(&json!({ "name": name, "role": "support" }))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let sql = "SELECT client_ip FROM audit.events WHERE action = 'agent.create' AND request_id = $1";
    let id = made.header("x-request-id").to_owned();
    server.database.admin().await.query_one(sql, &[&id]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_stranger_speaks_for_nobody() {
    let (server, acme, globex) = behind(&["10.0.0.0/8"]).await;
    let claiming = server
        .by(&acme, Method::GET, PATH)
        .header("host", acme.subdomain())
        .header("x-forwarded-host", globex.subdomain())
        .header("forwarded", format!("host={};for=203.0.113.9", globex.subdomain()));
    assert_eq!(Answer::to(claiming).await.status, 200, "the host of a stranger's header is not looked at");
    let hiding = server
        .by(&acme, Method::GET, PATH)
        .header("host", globex.subdomain())
        .header("x-forwarded-host", acme.subdomain());
    assert_eq!(Answer::to(hiding).await.verdict().1, "tenant_mismatch", "nor does it hide the host");
    let create = server.by(&acme, Method::POST, PATH).header("x-forwarded-for", "203.0.113.9");
    assert_eq!(audited_client(&server, create, "one").await, "127.0.0.1");
}

#[tokio::test]
async fn a_configured_proxy_speaks_for_the_caller() {
    let (server, acme, globex) = behind(&["127.0.0.0/8", "10.0.0.0/8"]).await;
    let by = |method| server.by(&acme, method, PATH).header("host", "internal.example");
    for (host, status) in [(acme.subdomain(), 200), (globex.subdomain(), 403), (globex.custom_host(), 403)] {
        let answer = Answer::to(by(Method::GET).header("x-forwarded-host", &host)).await;
        assert_eq!(answer.status, status, "{host}: {}", answer.text);
    }
    // the rightmost is what our own proxy was asked for; what stands before it came from outside
    let appended = format!("{}, {}", acme.subdomain(), globex.subdomain());
    assert_eq!(Answer::to(by(Method::GET).header("x-forwarded-host", appended)).await.verdict().1, "tenant_mismatch");
    let chains = [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.9, nonsense", "127.0.0.1"),
        ("nonsense", "127.0.0.1"),
    ];
    for (i, (chain, client)) in chains.into_iter().enumerate() {
        let create = by(Method::POST).header("x-forwarded-for", chain);
        assert_eq!(audited_client(&server, create, &format!("agent {i}")).await, client, "{chain}");
    }
}
