use std::time::Duration;

use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::Value;
use testkit::admin_client;

async fn ask(server: &TestServer) -> (u16, Vec<(String, String)>) {
    let health = Answer::to(server.request(Method::GET, "/health")).await;
    assert_eq!(health.status, 200, "the process is alive all the time");
    let answer = Answer::to(server.request(Method::GET, "/ready")).await;
    let body = answer.json();
    assert_eq!(body["ready"], Value::Bool(answer.status == 200));
    let word = |reason: &Value, name: &str| reason[name].as_str().unwrap().to_owned();
    let reasons = body["reasons"].as_array().unwrap().iter();
    (answer.status, reasons.map(|reason| (word(reason, "check"), word(reason, "message"))).collect())
}

/// Waits for the status; gives the reasons.
async fn until(server: &TestServer, status: u16, check: &str) -> Vec<(String, String)> {
    let mut last = (0, Vec::new());
    for _ in 0..1500 {
        last = ask(server).await;
        if last.0 == status && (check.is_empty() || last.1.iter().any(|(failed, _)| failed == check)) {
            return last.1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {status} because of `{check}`, but {last:?}");
}

#[tokio::test]
async fn a_whole_server_is_ready() {
    let server = TestServer::start().await;
    assert_eq!(until(&server, 200, "").await, Vec::new());
}

#[tokio::test]
async fn a_missing_migration_is_a_reason() {
    let server = TestServer::start().await;
    let admin = server.database.admin().await;
    admin.batch_execute("CREATE TABLE kept AS SELECT * FROM public.schema_migrations").await.unwrap();
    admin.batch_execute("DELETE FROM public.schema_migrations WHERE scope = 'analytics'").await.unwrap();
    let reasons = until(&server, 503, "migrations").await;
    let named = reasons.iter().any(|(check, message)| check == "migrations" && message.contains("analytics"));
    assert!(named, "the reason names what is missing: {reasons:?}");
    admin
        .batch_execute("INSERT INTO public.schema_migrations SELECT * FROM kept ON CONFLICT DO NOTHING")
        .await
        .unwrap();
    until(&server, 200, "").await;
}

#[tokio::test]
async fn a_tenant_that_is_not_migrated_is_refused_alone() {
    let server = TestServer::start().await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    let asked = async |tenant| Answer::to(server.by(tenant, Method::GET, "/v1/agents")).await;
    let admin = server.database.admin().await;
    let at = async |version: i32| {
        let sql = format!(
            "UPDATE public.tenant_placements SET schema_version = {version} WHERE tenant_id = (SELECT id FROM public.tenants WHERE slug = 'acme')"
        );
        admin.batch_execute(&sql).await.unwrap();
    };
    let latest = workforce::tenant_schema().needs;
    at(latest - 1).await;
    let refused = loop {
        let answer = asked(&acme).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (503, Some("tenant_schema_behind")),
        "{}",
        refused.text
    );
    assert_eq!(refused.header("retry-after"), "10");
    assert_eq!(asked(&globex).await.status, 200);
    until(&server, 200, "").await;
    // Ahead is served: a program is always older than the fleet for a while.
    at(latest + 1).await;
    while asked(&acme).await.status != 200 {}
}

#[tokio::test]
async fn a_listener_that_is_cut_is_a_reason_until_it_hears_again() {
    let server = TestServer::start().await;
    server.state.tenancy.registry().cut_listener(Duration::from_secs(3));
    let reasons = until(&server, 503, "listener").await;
    assert!(reasons.iter().all(|(check, _)| check == "listener"), "{reasons:?}");
    until(&server, 200, "").await;
}

#[tokio::test]
async fn a_database_that_is_away_is_a_reason_until_it_is_back() {
    let server = TestServer::start().await;
    let tenant = server.tenant("acme").await;
    let served = async || Answer::to(server.by(&tenant, Method::GET, "/v1/agents")).await;
    assert_eq!(served().await.status, 200);
    // nobody may connect, and who is connected is not any more: what a failed host looks like to this database's clients
    let name = &server.database.name;
    let postgres = admin_client("postgres").await;
    postgres.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    postgres.query(cut, &[name]).await.unwrap();
    let reasons = until(&server, 503, "database").await;
    for (_, message) in &reasons {
        assert!(!message.contains(name.as_str()) && !message.contains("tenantry_control"), "{message}");
    }
    until(&server, 503, "listener").await;
    let refused = served().await;
    assert_eq!(refused.status, 503, "a server that cannot know refuses: {}", refused.text);
    assert!(!refused.header("retry-after").is_empty());
    assert!(!refused.text.contains(name.as_str()), "{}", refused.text);
    postgres.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    until(&server, 200, "").await;
    assert_eq!(served().await.status, 200, "and is back by itself");
}
