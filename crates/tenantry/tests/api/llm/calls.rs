use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{CHAT, EMBEDDINGS, Gate, MESSAGES, RESPONSES, chat, message, nameless, streamed, text, tokens};
use isolation::server::Answer;

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_through_as_they_are_and_are_recorded_as_they_were_counted() {
    let gate = Gate::open().await;
    let calls = [
        (CHAT, chat("gpt-4o-mini+cache+reasoning"), "chat.completions"),
        (CHAT, chat("gpt-4o-mini+tools"), "chat.completions"),
        (RESPONSES, json!({ "model": "gpt-5+reasoning", "input": "hello" }), "responses"),
        (EMBEDDINGS, json!({ "model": "text-embedding-3-small", "input": ["a", "b"] }), "embeddings"),
        (MESSAGES, message("claude-sonnet-4-5+cache"), "messages"),
        (CHAT, streamed(chat("gpt-4o-mini+cache+odd")), "chat.completions"),
        (RESPONSES, streamed(json!({ "model": "gpt-5+reasoning", "input": "hello" })), "responses"),
        (MESSAGES, streamed(message("claude-sonnet-4-5+tools+odd")), "messages"),
    ];
    for (path, body, _) in &calls {
        let through = gate.call(path, body).send().await.unwrap();
        assert_eq!(through.status(), 200, "{path}");
        assert_eq!(through.headers()["x-new-header-of-tomorrow"], "kept");
        assert!(Uuid::try_parse(through.headers()["x-tenantry-call-id"].to_str().unwrap()).is_ok());
        for hidden in ["set-cookie", "content-encoding"] {
            assert!(!through.headers().contains_key(hidden), "{hidden}");
        }
        assert!(through.headers().keys().any(|name| name == "request-id" || name == "x-request-id"));
        let direct = gate.direct(path, body).send().await.unwrap();
        assert_eq!(through.headers()["content-type"], direct.headers()["content-type"]);
        let (through, direct) = (text(through).await, text(direct).await);
        // A stream of a chat was asked for its counts, which shows in a member that is null.
        let through = if *path == CHAT { through.replace(",\"usage\":null", "") } else { through };
        assert_eq!(nameless(&through), nameless(&direct), "{path}");
    }
    let ran: Vec<_> = gate.upstream.log().ran().into_iter().step_by(2).collect();
    let rows = gate.rows(&gate.acme, calls.len()).await;
    for ((row, ran), (_, body, operation)) in rows.iter().zip(&ran).zip(&calls) {
        let expected = [ran.tokens.input, ran.tokens.cache_read, ran.tokens.output, ran.tokens.reasoning];
        // What the request grew by so that its stream tells the counts is the provider's to count.
        assert_eq!(tokens(row), expected, "{row:#}");
        let asked = body["model"].as_str().unwrap();
        assert_eq!((row["requested_model"].as_str(), &row["operation"]), (Some(asked), &json!(operation)));
        assert_eq!(row["model"].as_str(), asked.split('+').next());
        assert_eq!(
            (&row["usage_source"], &row["finish"], &row["success"]),
            (&json!("reported"), &json!("complete"), &json!(true))
        );
        assert_eq!(row["streamed"], json!(body["stream"] == true));
        assert_eq!(row["time_to_first_token_ms"].is_null(), body["stream"] != true, "{row:#}");
        assert_eq!(
            (row["provider_request_id"].as_str(), &row["status_code"]),
            (Some(ran.request_id.as_str()), &json!(200))
        );
        assert_eq!((&row["source"], &row["api_key_id"]), (&json!("gateway"), &json!(gate.acme.key_id)));
    }
    assert_eq!(gate.upstream.log().keys_seen(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_tells_what_it_cost_as_it_is_recorded() {
    let gate = Gate::open().await;
    let priced = gate.call(CHAT, &chat("gpt-4o-mini+tokens-100")).send().await.unwrap();
    let unpriced = gate.call(CHAT, &chat("model-of-nobody")).send().await.unwrap();
    assert!(!unpriced.headers().contains_key("x-tenantry-cost-usd"), "what nobody knows is not zero");
    let told = priced.headers()["x-tenantry-cost-usd"].to_str().unwrap().to_owned();
    gate.rows(&gate.acme, 2).await;
    let sql = "SELECT cost_usd = $1::text::numeric AND cost_usd > 0, cost_source FROM analytics.provider_api_calls ORDER BY \"timestamp\"";
    let rows = gate.server.database.admin().await.query(sql, &[&told]).await.unwrap();
    assert!(rows[0].get::<_, bool>(0), "{told}");
    assert_eq!(rows[1].get::<_, String>(1), "unpriced");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_free_is_recorded_as_free() {
    let gate = Gate::open().await;
    let get = |path: &str| gate.server.request(Method::GET, path).header("x-api-key", &gate.acme.key);
    let models = Answer::to(get("/llm/openai/v1/models")).await;
    assert_eq!((models.status, models.json()["data"][0]["id"].as_str()), (200, Some("gpt-4o-mini")));
    assert_eq!(Answer::to(get("/llm/openai/v1/models/gpt-5")).await.json()["id"], "gpt-5");
    assert_eq!(Answer::to(get("/llm/anthropic/v1/models?limit=2&beta=true")).await.json()["has_more"], false);
    let count = gate.call(MESSAGES, &message("claude-sonnet-4-5"));
    let (client, request) = count.build_split();
    let mut request = request.unwrap();
    request.url_mut().set_path("/llm/anthropic/v1/messages/count_tokens");
    let counted: serde_json::Value = client.execute(request).await.unwrap().json().await.unwrap();
    assert!(counted["input_tokens"].as_u64().unwrap() > 10);
    let rows = gate.rows(&gate.acme, 4).await;
    for row in &rows {
        assert_eq!(
            (&row["cost_source"], row["cost_usd"].as_f64(), tokens(row)),
            (&json!("free"), Some(0.0), [0; 4]),
            "{row:#}"
        );
        assert_eq!((&row["finish"], &row["usage_source"]), (&json!("complete"), &json!("none")));
    }
    let operations: Vec<_> = rows.iter().map(|row| row["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["models", "models", "models", "messages.count_tokens"]);
    let received = gate.upstream.log().received();
    assert_eq!(received[2].path, "/anthropic/v1/models?limit=2&beta=true");
    assert!(gate.upstream.log().ran().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_say_what_a_call_is_for() {
    let gate = Gate::open().await;
    let post = |path, body| Answer::to(gate.server.by(&gate.acme, Method::POST, path).json(&body));
    let agent = post("/v1/agents", json!({ "name": "Mira", "role": "support" })).await.json()["id"].clone();
    let task = post("/v1/tasks", json!({ "agent_id": agent, "title": "Write" })).await.json()["id"].clone();
    let session = post("/v1/sessions", json!({ "agent_id": agent, "task_id": task })).await.json()["id"].clone();
    let operation = Uuid::now_v7().to_string();
    let labelled =
        |name, value: &serde_json::Value| gate.call(CHAT, &chat("gpt-5")).header(name, value.as_str().unwrap());
    let call = labelled("x-tenantry-session", &session)
        .header("x-tenantry-task-type", "research")
        .header("x-tenantry-reference", "order 7")
        .header("x-tenantry-operation", &operation)
        .header("x-stainless-retry-count", "1");
    assert_eq!(Answer::to(call).await.status, 200);
    assert_eq!(Answer::to(labelled("x-tenantry-task", &task)).await.status, 200);
    let rows = gate.rows(&gate.acme, 2).await;
    for row in &rows {
        assert_eq!((&row["agent_id"], &row["task_id"]), (&agent, &task), "what was not named follows");
    }
    assert_eq!((&rows[0]["session_id"], &rows[0]["task_type"]), (&session, &json!("research")));
    assert_eq!((&rows[0]["client_reference"], &rows[0]["operation_id"]), (&json!("order 7"), &json!(operation)));
    assert_eq!((&rows[0]["attempt"], &rows[1]["attempt"]), (&json!(2), &json!(1)));
    for received in gate.upstream.log().received() {
        assert!(received.headers.keys().all(|name| !name.starts_with("x-tenant")), "{:?}", received.headers);
        assert_eq!(received.headers["accept-encoding"], "identity");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_through_byte_for_byte() {
    let gate = Gate::open().await;
    let body = "{ \"model\" : \"gpt-5\",\t\"messages\":[{\"role\":\"user\",\"content\":\"\\u00fc ü\"}],\n \"temperature\":0.70,\"of_tomorrow\":{\"a\":1e2} }";
    let request = gate.server.request(Method::POST, CHAT).bearer_auth(&gate.acme.key);
    let request = request
        .header("content-type", "application/json")
        .header("openai-organization", "org-1")
        .header("idempotency-key", "k");
    assert_eq!(Answer::to(request.body(body)).await.status, 200);
    // larger than our own API takes
    let mut long = chat("gpt-5");
    long["messages"][0]["content"] = json!("x".repeat(3 << 20));
    assert_eq!(Answer::to(gate.call(CHAT, &long).header("idempotency-key", "l")).await.status, 200);
    let received = gate.upstream.log().received();
    assert_eq!((received[0].body.as_str(), received[0].path.as_str()), (body, "/openai/v1/chat/completions"));
    assert_eq!(
        (&received[0].headers["openai-organization"], &received[0].headers["idempotency-key"]),
        (&"org-1".into(), &"k".into())
    );
    assert_eq!(received[0].headers["authorization"], "Bearer sk-good-acme-openai");
    assert_eq!(received[1].body.len(), long.to_string().len());
    assert_eq!(gate.upstream.log().keys_seen(), 0);
}
