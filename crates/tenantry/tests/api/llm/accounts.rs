use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{CHAT, Gate, MESSAGES, PATIENCE, chat, message};
use isolation::server::Answer;

/// The credential that the provider saw last.
fn last_credential(gate: &Gate) -> String {
    let received = gate.upstream.log().received().pop().unwrap();
    received.headers.get("authorization").or_else(|| received.headers.get("x-api-key")).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_the_oldest_or_the_one_that_is_named() {
    let gate = Gate::open().await;
    let acme = gate.acme.clone();
    let second = gate
        .account(&acme, json!({ "provider": "openai", "name": "Production", "access_token": "sk-good-second" }))
        .await;
    let as_if = async |account: Option<&str>| {
        let mut request = gate.call(CHAT, &chat("gpt-5"));
        if let Some(account) = account {
            request = request.header("x-tenantry-account", account);
        }
        assert_eq!(Answer::to(request).await.status, 200);
        last_credential(&gate)
    };
    assert_eq!(as_if(None).await, "Bearer sk-good-acme-openai");
    assert_eq!(as_if(Some(&second)).await, "Bearer sk-good-second");
    assert_eq!(as_if(Some("Production")).await, "Bearer sk-good-second");
    assert_eq!(Answer::to(gate.call(MESSAGES, &message("claude"))).await.status, 200);
    assert_eq!(last_credential(&gate), "sk-good-acme-anthropic");
    let wrong = gate.call(MESSAGES, &message("claude")).header("x-tenantry-account", &second);
    assert_eq!(Answer::to(wrong).await.status, 422, "it does not speak this API");
    let rows = gate.rows(&gate.acme, 4).await;
    assert_eq!(rows[1]["provider_account_id"], json!(second));
    assert_eq!((&rows[3]["provider"], &rows[0]["provider"]), (&json!("anthropic"), &json!("openai")));
    let began = Instant::now();
    loop {
        let account =
            Answer::to(gate.server.by(&acme, Method::GET, &format!("/v1/provider-accounts/{second}"))).await.json();
        if account["last_used_at"].is_string() {
            assert_eq!(account["version"], 1);
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_account_is_of_no_use_within_a_second_and_a_rotated_one_has_its_new_key() {
    let gate = Gate::open().await;
    let acme = gate.acme.clone();
    let id = gate.account(&acme, json!({ "provider": "openai", "name": "other", "access_token": "sk-good-old" })).await;
    let ask = async || Answer::to(gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", &id)).await.status;
    let change = async |what: &str, body: serde_json::Value| {
        let path = format!("/v1/provider-accounts/{id}/{what}");
        let changed = Answer::to(gate.server.by(&acme, Method::POST, &path).json(&body)).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    };
    assert_eq!(ask().await, 200);
    change("rotate", json!({ "access_token": "sk-good-new" })).await;
    let began = Instant::now();
    while last_credential(&gate) != "Bearer sk-good-new" {
        assert!(began.elapsed() < Duration::from_secs(1));
        assert_eq!(ask().await, 200);
    }
    change("revoke", json!({})).await;
    let began = Instant::now();
    while ask().await == 200 {
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(ask().await, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_the_provider_refuses_is_noted() {
    let gate = Gate::open().await;
    let acme = gate.acme.clone();
    let id = gate.account(&acme, json!({ "provider": "openai", "name": "bad", "access_token": "sk-wrong-key" })).await;
    let answer = Answer::to(gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", &id)).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    let began = Instant::now();
    loop {
        let account =
            Answer::to(gate.server.by(&acme, Method::GET, &format!("/v1/provider-accounts/{id}"))).await.json();
        if account["last_error"].as_str().is_some_and(|error| error.contains("401")) {
            assert_eq!((&account["status"], &account["version"]), (&json!("active"), &json!(1)));
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{account}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_a_tenant_gives_is_public_and_https() {
    let gate = Gate::open().await;
    let acme = gate.acme.clone();
    let inside = gate.upstream.openai();
    for (number, base) in
        [inside.as_str(), "https://127.0.0.1/v1", "https://localhost/v1", "https://169.254.169.254/latest"]
            .iter()
            .enumerate()
    {
        let name = format!("inside {number}");
        let body = json!({ "provider": "openai_compatible", "name": name, "access_token": "sk-good-x", "account_meta": { "base_url": base } });
        gate.account(&acme, body).await;
        let answer = Answer::to(gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", &name)).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (422, Some("provider_address_refused")),
            "{base}"
        );
    }
    // What the operator has configured wins over what an account says.
    let body = json!({ "provider": "openai", "name": "led astray", "access_token": "sk-good-x", "account_meta": { "base_url": "https://evil.test/v1" } });
    gate.account(&acme, body).await;
    assert_eq!(
        Answer::to(gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", "led astray")).await.status,
        200
    );
    let none = json!({ "provider": "azure_openai", "name": "nowhere", "access_token": "sk-good-x" });
    gate.account(&acme, none).await;
    let answer = Answer::to(gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", "nowhere")).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (422, Some("no_provider_account")));
}

/// A service of the outside world, with a certificate: `service.test` leads here, and so is an address that a tenant may give.
#[tokio::test(flavor = "multi_thread")]
async fn a_compatible_provider_is_asked_where_the_account_says() {
    let gate = Gate::open().await;
    let acme = gate.acme.clone();
    let port = isolation::service::port();
    let base = format!("https://llm.service.test:{port}/echo");
    let body = json!({ "provider": "azure_openai", "name": "azure", "access_token": "sk-good-x",
        "account_meta": { "base_url": base, "api_version": "2026-01-01" } });
    gate.account(&acme, body).await;
    let answer = Answer::to(gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", "azure")).await;
    let told = answer.json();
    assert_eq!((answer.status, told["path"].as_str()), (200, Some("/echo/chat/completions")), "{}", answer.text);
    assert_eq!(
        (told["query"].as_str(), told["headers"]["api-key"].as_str()),
        (Some("api-version=2026-01-01"), Some("sk-good-x"))
    );
    assert!(!answer.text.contains("tnk_"));
    let row = gate.row().await;
    assert_eq!(
        (&row["provider"], &row["usage_source"]),
        (&json!("azure_openai"), &json!("estimated")),
        "it did not say what it counted"
    );
}
