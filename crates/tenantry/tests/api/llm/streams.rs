use serde_json::{Value, json};

use super::{CHAT, Gate, chat, streamed, text};

/// The data of a stream's events, as JSON where they are.
fn events(stream: &str) -> Vec<Value> {
    stream.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_the_counts_only_if_it_asked_for_them() {
    let gate = Gate::open().await;
    let mut asking = streamed(chat("gpt-5+odd"));
    asking["stream_options"] = json!({ "include_usage": true });
    let mut refusing = asking.clone();
    refusing["stream_options"] = json!({ "include_usage": false, "of_tomorrow": 1 });
    for (body, shown) in
        [(asking, true), (refusing, false), (streamed(chat("gpt-5+odd")), false), (streamed(chat("gpt-5")), false)]
    {
        let stream = text(gate.call(CHAT, &body).send().await.unwrap()).await;
        let events = events(&stream);
        assert_eq!(events.iter().any(|event| event["usage"].is_object()), shown, "{stream}");
        assert!(events.iter().all(|event| shown || event["choices"].as_array().is_some_and(|c| !c.is_empty())));
        assert!(stream.starts_with(": a comment\n\n") && stream.ends_with("data: [DONE]\n\n"), "{stream}");
        let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, (0..12).map(|n| format!("wörd{n} ")).collect::<String>());
    }
    for received in gate.upstream.log().received() {
        let body: Value = serde_json::from_str(&received.body).unwrap();
        assert_eq!(body["stream_options"]["include_usage"], true);
    }
    for row in gate.rows(&gate.acme, 4).await {
        assert_eq!((&row["usage_source"], &row["tokens_output"]), (&json!("reported"), &json!(12)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_leave_as_they_come() {
    let gate = Gate::open().await;
    let mut response = gate.call(CHAT, &streamed(chat("gpt-5+pace-60"))).send().await.unwrap();
    let began = std::time::Instant::now();
    let mut pieces = 0;
    while response.chunk().await.unwrap().is_some() {
        pieces += 1;
        if pieces == 3 {
            assert!(began.elapsed().as_millis() < 600, "the stream is not held back");
        }
    }
    assert!(pieces > 10);
    let row = gate.row().await;
    let (first, all) = (row["time_to_first_token_ms"].as_i64().unwrap(), row["latency_ms"].as_i64().unwrap());
    assert!((100..all - 300).contains(&first), "{first} of {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_stream_is_one() {
    let gate = Gate::open().await;
    for body in [streamed(chat("gpt-5+failing")), streamed(chat("gpt-5+failing+tokens-0"))] {
        let stream = text(gate.call(CHAT, &body).send().await.unwrap()).await;
        assert!(stream.contains("it broke"), "{stream}");
    }
    let rows = gate.rows(&gate.acme, 2).await;
    for row in &rows {
        assert_eq!((&row["finish"], &row["success"]), (&json!("error"), &json!(false)));
        assert!(row["error_message"].as_str().unwrap().contains("it broke"));
    }
    // What was written before it broke has to be paid for, nothing else.
    assert_eq!((&rows[0]["usage_source"], &rows[1]["usage_source"]), (&json!("estimated"), &json!("none")));
    assert_eq!((&rows[1]["cost_source"], rows[1]["cost_usd"].as_f64()), (&json!("free"), Some(0.0)));
}
