//! Calls that do not end as they should: the client goes, the provider breaks off, the server stops.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{CHAT, Gate, MESSAGES, PATIENCE, chat, message, streamed, tokens};
use isolation::server::Answer;

/// Waits until the provider runs so many calls.
async fn until_run(gate: &Gate, count: usize) {
    let began = Instant::now();
    while gate.upstream.log().ran().len() < count {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_client_goes_the_answer_is_read_on() {
    let gate = Gate::open().await;
    for (path, body) in [(CHAT, streamed(chat("gpt-5+pace-20"))), (MESSAGES, streamed(message("claude+pace-20")))] {
        let mut response = gate.call(path, &body).send().await.unwrap();
        response.chunk().await.unwrap().unwrap();
        drop(response);
    }
    // also one that nobody has an answer of yet
    let waiting = tokio::spawn(gate.call(CHAT, &chat("gpt-5+delay-300")).send());
    until_run(&gate, 3).await;
    waiting.abort();
    let rows = gate.rows(&gate.acme, 3).await;
    let ran = gate.upstream.log().ran();
    for row in &rows {
        let ran = ran.iter().find(|ran| Some(ran.request_id.as_str()) == row["provider_request_id"].as_str()).unwrap();
        assert_eq!((&row["finish"], &row["success"]), (&json!("cancelled"), &json!(false)), "{row:#}");
        assert_eq!((&row["usage_source"], tokens(row)[2]), (&json!("reported"), ran.tokens.output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_it_what_was_asked_is_estimated() {
    let gate = Gate::with(|settings| settings.metering.gateway.max_drains = 0).await;
    let mut response = gate.call(CHAT, &streamed(chat("gpt-5+pace-50"))).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    let row = gate.row().await;
    assert_eq!((&row["finish"], &row["usage_source"]), (&json!("cancelled"), &json!("estimated")));
    assert!(tokens(&row)[0] > 0, "the input has to be paid for at least");
    // Reading on takes no longer than it may, either.
    let gate = Gate::with(|settings| settings.metering.gateway.drain_timeout = Duration::from_millis(100)).await;
    let began = Instant::now();
    let mut response = gate.call(CHAT, &streamed(chat("gpt-5+pace-500"))).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    assert_eq!(gate.row().await["finish"], "cancelled");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_breaks_off_is_cut_for_the_client_too() {
    let gate = Gate::open().await;
    for (path, body) in [(CHAT, streamed(chat("gpt-5+cut-5"))), (MESSAGES, streamed(message("claude+cut-6+odd")))] {
        let response = gate.call(path, &body).send().await.unwrap();
        assert!(response.bytes().await.is_err(), "{path}: it must not be taken for whole");
    }
    for body in [chat("gpt-5+cut-1"), chat("gpt-5+drop")] {
        let answer = Answer::to(gate.call(CHAT, &body)).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (502, Some("provider_unreachable")),
            "{}",
            answer.text
        );
    }
    for row in gate.rows(&gate.acme, 4).await {
        assert_eq!((&row["finish"], &row["usage_source"]), (&json!("cut"), &json!("estimated")), "{row:#}");
        assert!(tokens(&row)[0] > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_slow_or_away_is_not_waited_for() {
    let gate = Gate::with(|settings| {
        let gateway = &mut settings.metering.gateway;
        gateway.first_byte_timeout = Duration::from_millis(300);
        gateway.idle_timeout = Duration::from_millis(300);
        gateway.upstreams.insert("nobody".to_owned(), "http://127.0.0.1:1/v1".to_owned());
    })
    .await;
    let answer = Answer::to(gate.call(CHAT, &chat("gpt-5+hang"))).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (504, Some("provider_timeout")));
    let response = gate.call(CHAT, &streamed(chat("gpt-5+pace-1000"))).send().await;
    assert!(response.unwrap().bytes().await.is_err());
    let acme = gate.acme.clone();
    gate.account(&acme, json!({ "provider": "nobody", "name": "away", "access_token": "sk-good-x" })).await;
    let away = gate.call(CHAT, &chat("gpt-5")).header("x-tenantry-account", "away").header("x-tenantry-retry", "1");
    assert_eq!(Answer::to(away).await.status, 502);
    let rows = gate.rows(&gate.acme, 4).await;
    let finishes: Vec<_> =
        rows.iter().map(|row| (row["finish"].as_str().unwrap(), row["usage_source"].as_str().unwrap())).collect();
    assert_eq!(finishes, [("cut", "estimated"), ("cut", "estimated"), ("error", "none"), ("error", "none")]);
    assert_eq!(rows[2]["operation_id"], rows[3]["operation_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_repeated_unless_it_was_asked_for_and_cost_nothing() {
    let gate = Gate::open().await;
    let plain = Answer::to(gate.call(CHAT, &chat("gpt-5+busy-1"))).await;
    assert_eq!(plain.status, 429);
    let asked = |model: &str| gate.call(CHAT, &chat(model)).header("x-tenantry-retry", "2");
    assert_eq!(Answer::to(asked("gpt-4o+busy-1")).await.status, 200);
    assert_eq!(Answer::to(asked("gpt-5+error-500")).await.status, 500);
    assert_eq!(Answer::to(asked("gpt-5+drop")).await.status, 502);
    let rows = gate.rows(&gate.acme, 5).await;
    let seen: Vec<_> = rows.iter().map(|row| (row["attempt"].as_u64().unwrap(), row["status_code"].as_u64())).collect();
    assert_eq!(seen, [(1, Some(429)), (1, Some(429)), (2, Some(200)), (1, Some(500)), (1, None)]);
    assert_eq!(rows[1]["operation_id"], rows[2]["operation_id"]);
    assert_eq!(gate.upstream.log().ran().len(), 2, "the one that was answered, and the one that broke");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_settles_what_it_runs() {
    let gate = Gate::with(|settings| settings.http.drain_timeout = Duration::from_millis(1500)).await;
    let short = gate.call(CHAT, &streamed(chat("gpt-5+pace-50"))).send().await.unwrap();
    let long = gate.call(CHAT, &streamed(chat("gpt-5+pace-2000"))).send().await.unwrap();
    let acme = gate.acme.clone();
    let Gate { server, upstream, .. } = gate;
    let database = server.database.clone();
    let stopping = tokio::spawn(server.stop());
    assert!(short.bytes().await.is_ok(), "it has the time to come to its end");
    assert!(long.bytes().await.is_err());
    stopping.await.unwrap();
    // What was settled was shipped before the end.
    let admin = database.admin().await;
    let sql = "SELECT c.finish, c.usage_source FROM analytics.provider_api_calls c JOIN public.tenants t ON t.id = c.tenant_id \
               WHERE t.slug = $1 ORDER BY c.\"timestamp\"";
    let rows = admin.query(sql, &[&acme.slug]).await.unwrap();
    let rows: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [("complete".into(), "reported".into()), ("cut".into(), "estimated".into())]);
    assert_eq!(upstream.log().ran().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_answered_as_the_get() {
    let gate = Gate::open().await;
    let head =
        gate.server.request(Method::HEAD, "/llm/openai/v1/models").bearer_auth(&gate.acme.key).send().await.unwrap();
    assert_eq!(head.status(), 200);
}
