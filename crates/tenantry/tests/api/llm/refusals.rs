use std::time::Duration;

use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry_postgres::NewKey;

use super::{CHAT, Gate, MESSAGES, RESPONSES, chat, message};
use isolation::server::{Answer, actor};

/// Status and code of a refusal in either API's shape.
fn refusal(answer: &Answer, path: &str) -> (u16, String) {
    assert_eq!(answer.header("content-type"), "application/json", "{}", answer.text);
    let body = answer.json();
    let code = if path.starts_with("/llm/anthropic") {
        assert_eq!(
            (&body["type"], &body["request_id"]),
            (&json!("error"), &json!(answer.header("x-request-id"))),
            "{body}"
        );
        assert!(body["error"]["type"].is_string());
        body["error"]["message"].as_str().unwrap().split(':').next().unwrap().to_owned()
    } else {
        let error = body["error"].as_object().unwrap();
        // and what a program may want to know of the refusal, where there is such
        let members = error.keys().map(String::as_str).filter(|member| *member != "details");
        assert_eq!(members.collect::<Vec<_>>(), ["code", "message", "param", "type"]);
        error["code"].as_str().unwrap().to_owned()
    };
    (answer.status, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_ours_have_the_shape_of_the_api() {
    let gate = Gate::with(|settings| settings.metering.gateway.body_limit = 100_000).await;
    let globex = gate.server.tenant("globex").await;
    for (path, body) in [(CHAT, chat("gpt-5")), (MESSAGES, message("claude-sonnet-4-5"))] {
        let says = async |request: reqwest::RequestBuilder, status: u16, code: &str| {
            assert_eq!(refusal(&Answer::to(request).await, path), (status, code.to_owned()), "{path}");
        };
        let bare = || gate.server.request(Method::POST, path).json(&body);
        let good = || gate.by(&gate.acme, path, &body);
        says(bare(), 400, "tenant_identifier_required").await;
        says(bare().bearer_auth("tnk_nonsense"), 401, "invalid_credential").await;
        says(bare().header("x-api-key", &gate.acme.key).bearer_auth(&globex.key), 400, "conflicting_credentials").await;
        says(good().header("x-tenant-slug", "globex"), 403, "tenant_mismatch").await;
        says(good().body("[1]"), 400, "invalid_call").await;
        // By its announced length: whoever sends it all may find the connection closed before the answer.
        let large = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\nContent-Length: 100001\r\nConnection: close\r\n\r\n",
            gate.acme.key
        );
        let large = gate.server.raw(large.as_bytes()).await;
        assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("body_too_large"), "{large}");
        says(good().header("x-tenantry-agent", "mira"), 400, "invalid_attribution").await;
        let nobody = uuid::Uuid::now_v7().to_string();
        says(good().header("x-tenantry-task", &nobody), 422, "unknown_attribution").await;
        says(good().header("x-tenantry-account", &nobody), 422, "no_provider_account").await;
        says(gate.by(&globex, path, &body), 422, "no_provider_account").await;
        let root = path.rsplit_once("/v1").unwrap().0;
        says(
            gate.server.request(Method::POST, &format!("{root}/v1/images")).bearer_auth(&gate.acme.key),
            404,
            "route_not_found",
        )
        .await;
        says(gate.server.request(Method::POST, &format!("{root}/v1/batches")), 404, "route_not_found").await;
        says(gate.server.request(Method::DELETE, path).bearer_auth(&gate.acme.key), 405, "method_not_allowed").await;
        says(gate.by(&gate.acme, &format!("{path}?api_key={}", gate.acme.key), &body), 400, "invalid_call").await;
        let before = gate.upstream.log().received().len();
        let traversals = [
            "..%2f..%2fx/../../y",
            "%2e%2e/files",
            "a%2f..%5cb",
            "..%2f..%2flog",
            "%2e%2e%2flog",
            "%252e%252e%252flog",
        ];
        for traversal in traversals.map(|path| format!("models/{path}")) {
            let request = format!(
                "GET {root}/v1/{traversal} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {}\r\nConnection: close\r\n\r\n",
                gate.acme.key
            );
            let answer = gate.server.raw(request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("route_not_found"), "{traversal}: {answer}");
        }
        assert_eq!(gate.upstream.log().received().len(), before, "no other path is asked of the provider");
    }
    let background = json!({ "model": "gpt-5", "input": "x", "background": true });
    assert_eq!(refusal(&Answer::to(gate.call(RESPONSES, &background)).await, CHAT), (400, "unmetered_call".to_owned()));
    assert!(gate.upstream.log().ran().is_empty(), "nothing was asked of the provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_needs_the_scope_and_a_suspended_tenant_makes_no_call() {
    let gate = Gate::open().await;
    let scoped = async |scope: &str| {
        let made = gate
            .server
            .state
            .provisioner
            .create_key("acme", &NewKey::named(scope).scoped(&[scope.to_owned()]), &actor())
            .await
            .unwrap();
        made.token.expose_secret().to_owned()
    };
    let (call, read, other) = (scoped("llm:call").await, scoped("llm:read").await, scoped("agents:read").await);
    let asks = async |key: &str| {
        let chat = gate.server.request(Method::POST, CHAT).json(&chat("gpt-5")).bearer_auth(key);
        let models = gate.server.request(Method::GET, "/llm/openai/v1/models").bearer_auth(key);
        (Answer::to(chat).await.status, Answer::to(models).await.status)
    };
    assert_eq!(asks(&call).await, (200, 403));
    assert_eq!(asks(&read).await, (403, 200));
    assert_eq!(asks(&other).await, (403, 403));
    // The answer of one that runs comes to its end.
    let running = tokio::spawn(gate.call(CHAT, &chat("gpt-5+delay-1500")).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.server.state.provisioner.suspend("acme", &actor()).await.unwrap();
    let began = std::time::Instant::now();
    let refused = loop {
        let answer = Answer::to(gate.call(CHAT, &chat("gpt-5"))).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(1));
    };
    assert_eq!(refusal(&refused, CHAT), (403, "tenant_inactive".to_owned()));
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_provider_are_the_providers_and_cost_nothing() {
    let gate = Gate::open().await;
    let statuses = [400, 404, 429, 500, 503, 529];
    for status in statuses {
        for (path, body) in
            [(CHAT, chat(&format!("gpt-5+error-{status}"))), (MESSAGES, message(&format!("claude+error-{status}")))]
        {
            let (through, direct) =
                (Answer::to(gate.call(path, &body)).await, Answer::to(gate.direct(path, &body)).await);
            assert_eq!((through.status, &through.text), (status, &direct.text));
            assert_eq!(through.header("retry-after"), direct.header("retry-after"));
        }
    }
    for row in gate.rows(&gate.acme, 2 * statuses.len()).await {
        assert_eq!(
            (&row["cost_source"], row["cost_usd"].as_f64(), &row["usage_source"]),
            (&json!("free"), Some(0.0), &json!("none"))
        );
        assert_eq!((&row["finish"], &row["success"], &row["model"]), (&json!("error"), &json!(false), &json!("")));
        let status = row["status_code"].as_u64().unwrap();
        assert!(row["error_message"].as_str().unwrap().contains(&format!("the error {status} was asked for")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_may_be_are_told_to_come_later() {
    let gate = Gate::with(|settings| settings.metering.gateway.max_calls = 1).await;
    let running = tokio::spawn(gate.call(CHAT, &chat("gpt-5+delay-1000")).send());
    let began = std::time::Instant::now();
    while gate.server.state.gateway.running() == 0 {
        assert!(began.elapsed() < super::PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = Answer::to(gate.call(CHAT, &chat("gpt-5"))).await;
    assert_eq!(refusal(&refused, CHAT), (503, "gateway_busy".to_owned()));
    assert_eq!(refused.header("retry-after"), "2");
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
    let text: Value = Answer::to(gate.call(CHAT, &chat("gpt-5"))).await.json();
    assert_eq!(text["object"], "chat.completion");
}
