//! What browsers ask for: pages of other origins, compressed answers, the page of the documentation.

use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::json;

use crate::company::{Company, refusal};

#[tokio::test]
async fn a_page_reads_answers_of_its_own_tenant_only() {
    let server = TestServer::with(|settings| {
        settings.http.base_domains = tenantry_http::BaseDomains::new(["app.test"]).unwrap();
        settings.http.cors_origins = vec!["http://localhost:5173".to_owned()];
    })
    .await;
    let acme = server.tenant("acme").await;
    server.tenant("globex").await;
    let readable_by = async |origin: &str| {
        let answer = Answer::to(server.by(&acme, Method::GET, "/v1/agents").header("origin", origin)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), "origin", "caches keep answers to other origins apart");
        answer.header("access-control-allow-origin") == origin
    };
    for own in ["https://agents.acme.example", "https://acme.app.test", "http://localhost:5173"] {
        assert!(readable_by(own).await, "{own}");
    }
    for foreign in [
        "https://agents.globex.example",
        "https://globex.app.test",
        "https://app.test",
        "https://evil.example",
        "http://agents.acme.example",
        "https://agents.acme.example.evil.example",
        "https://agents.acme.example:444",
        "null",
    ] {
        assert!(!readable_by(foreign).await, "{foreign}");
    }
    let own = "https://agents.acme.example";
    let answer = Answer::to(server.by(&acme, Method::GET, "/v1/agents").header("origin", own)).await;
    let exposed: Vec<&str> = answer.header("access-control-expose-headers").split(", ").collect();
    for name in ["etag", "idempotency-replayed", "content-disposition", "x-data-as-of", "x-pending-hours"] {
        assert!(exposed.contains(&name), "{name}");
    }
    let call = server.by(&acme, Method::POST, "/llm/openai/v1/chat/completions").header("origin", own);
    let answer = Answer::to(call.json(&json!({ "model": "gpt-5", "messages": [] }))).await;
    assert_eq!(answer.header("access-control-allow-origin"), own, "{}", answer.text);
    for name in ["x-tenantry-call-id", "x-tenantry-cost-usd"] {
        assert!(answer.header("access-control-expose-headers").split(", ").any(|exposed| exposed == name), "{name}");
    }
    let none = Answer::to(server.by(&acme, Method::GET, "/v1/agents")).await;
    assert_eq!(none.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_preflight_needs_no_credential_and_reads_nothing() {
    let server = TestServer::start().await;
    let ask = async |origin: &str| {
        let request = server.request(Method::OPTIONS, "/v1/agents").header("origin", origin);
        Answer::to(request.header("access-control-request-method", "POST")).await
    };
    let answer = ask("https://crm.example").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "https://crm.example"));
    assert!(answer.header("access-control-allow-headers").contains("idempotency-key"));
    assert_eq!(answer.header("access-control-allow-credentials"), "", "no cookies are involved");
    let client = server.request(Method::OPTIONS, "/llm/anthropic/v1/messages").header("origin", "https://crm.example");
    let client = client.header("access-control-request-method", "POST");
    let sent = ["anthropic-version", "anthropic-dangerous-direct-browser-access", "x-stainless-os", "x-tenantry-agent"];
    let answer = Answer::to(client.header("access-control-request-headers", sent.join(","))).await;
    for name in sent {
        let allowed = answer.header("access-control-allow-headers");
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name}: {allowed}");
    }
    assert_eq!(ask("http://crm.example").await.verdict(), refusal(403, "origin_refused"));
    assert_eq!(Answer::to(server.request(Method::OPTIONS, "/v1/agents")).await.status, 405, "no preflight");
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_can_read_that() {
    let company = Company::open().await;
    for n in 0..20 {
        company.agent(&format!("agent {n}")).await;
    }
    let get = async |path: &str, accepts: &str| {
        let request = company.server.by(&company.tenant, Method::GET, path).header("accept-encoding", accepts);
        Answer::to(request).await
    };
    let plain = get("/v1/agents", "identity").await;
    let small = get("/v1/agents", "gzip").await;
    assert_eq!((plain.header("content-encoding"), small.header("content-encoding")), ("", "gzip"));
    let missing = "/v1/agents/00000000-0000-0000-0000-000000000000";
    assert_eq!(get(missing, "gzip").await.verdict(), refusal(404, "agent_not_found"), "problems stay plain");
    // A problem with a body long enough to be compressed.
    let agent = company
        .make("/v1/agents", json!({ "name": "long", "role": "x", "personality_prompt": "x".repeat(5000) }))
        .await;
    let stale = company.server.by(&company.tenant, Method::PATCH, &crate::company::at("agents", &agent));
    let stale = stale.header("accept-encoding", "gzip").json(&json!({ "version": 7, "role": "y" }));
    assert_eq!(Answer::to(stale).await.verdict(), refusal(409, "version_conflict"));
}

/// A body whose end is asked for twice must have one, or whoever accepts gzip gets nothing of an export.
#[tokio::test]
async fn an_export_is_compressed_to_its_end() {
    let company = Company::open().await;
    for query in ["", "&rows=days", "&format=jsonl", "&format=focus"] {
        let path = format!("/v1/analytics/export?from=2026-01-01{query}&to=2026-01-31");
        let request = company.server.by(&company.tenant, Method::GET, &path).header("accept-encoding", "gzip");
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"), "{query}");
    }
}

#[tokio::test]
async fn the_documentation_is_a_page_without_foreign_parts() {
    let server = TestServer::start().await;
    let page = Answer::to(server.request(Method::GET, "/docs/")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.contains("script-src 'self'"), "{policy}");
    assert!(!page.text.contains("https://"), "nothing comes from elsewhere: {}", page.text);
    for part in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        assert_eq!(Answer::to(server.request(Method::GET, &format!("/docs/{part}"))).await.status, 200, "{part}");
    }
    let missing = Answer::to(server.request(Method::GET, "/docs/..%2fsecret")).await;
    assert_eq!(missing.verdict(), refusal(404, "route_not_found"));
}
