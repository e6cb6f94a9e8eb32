use futures_util::future::join_all;
use isolation::server::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/sessions";

impl Company {
    async fn run(&self, agent: &Value) -> Value {
        self.make(LIST, json!({ "agent_id": agent["id"] })).await
    }

    async fn report(&self, session: &Value, report: Value) -> Answer {
        self.post(&format!("{}/usage", at("sessions", session)), report).await
    }

    /// `end` or `fail`.
    async fn over(&self, session: &Value, how: &str) -> Answer {
        Answer::to(self.server.by(&self.tenant, Method::POST, &format!("{}/{how}", at("sessions", session)))).await
    }
}

#[tokio::test]
async fn a_session_starts_is_reported_on_and_ends() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let task = company.task(&mira, "one").await;
    let made = company.post(LIST, json!({ "agent_id": mira["id"], "task_id": task["id"] })).await;
    let session = made.json();
    assert_eq!((made.status, made.header("location")), (201, at("sessions", &session).as_str()));
    let expected = json!({
        "id": session["id"], "agent_id": mira["id"], "task_id": task["id"], "status": "active", "tokens_used": {},
        "tool_calls": [], "started_at": session["started_at"], "ended_at": null,
    });
    assert_eq!(session, expected);
    let used = json!({ "tokens_used": { "input": 512, "output": 64 }, "tool_calls": [{ "tool": "orders", "ms": 41 }] });
    assert_eq!(company.report(&session, used).await.status, 200);
    let used =
        company.report(&session, json!({ "tokens_used": { "input": 1 }, "tool_calls": [{ "tool": "mail" }] })).await;
    let now = used.json();
    assert_eq!(now["tokens_used"], json!({ "input": 513, "output": 64 }));
    assert_eq!(now["tool_calls"], json!([{ "tool": "orders", "ms": 41 }, { "tool": "mail" }]));
    assert_eq!(company.get(made.header("location")).await.json(), now);
    let ended = company.over(&session, "end").await;
    assert_eq!((ended.status, &ended.json()["status"]), (200, &json!("ended")));
    assert!(ended.json()["ended_at"].is_string());
    for late in [
        company.over(&session, "end").await,
        company.over(&session, "fail").await,
        company.report(&session, json!({ "tokens_used": { "input": 1 } })).await,
        company.report(&session, json!({})).await,
    ] {
        assert_eq!((late.verdict(), &late.json()["current"]), (refusal(409, "session_ended"), &ended.json()));
    }
    let failed = company.over(&company.run(&mira).await, "fail").await.json();
    assert_eq!(failed["status"], "failed");
    let told = company.events(&format!("session/{}", session["id"].as_str().unwrap())).await;
    let actions: Vec<&str> = told.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["session.start", "session.report", "session.report", "session.end"]);
    assert_eq!(told[1].1, json!({ "tokens_used": { "input": 512, "output": 64 }, "tool_calls": 1 }));
}

#[tokio::test]
async fn broken_members_are_pointed_to() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let noors = company.task(&noor, "hers").await;
    for (body, code, pointer) in [
        (json!({ "agent_id": Uuid::new_v4() }), "unknown_agent", "/agent_id"),
        (json!({ "agent_id": mira["id"], "task_id": Uuid::new_v4() }), "unknown_task", "/task_id"),
        (json!({ "agent_id": mira["id"], "task_id": noors["id"] }), "unknown_task", "/task_id"),
        (json!({ "agent_id": mira["id"], "status": "ended" }), "invalid_body", "/status"),
    ] {
        let answer = company.post(LIST, body.clone()).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{body}");
    }
    let session = company.run(&mira).await;
    for (report, code, pointer) in [
        (json!({ "tokens_used": { "input": -1 } }), "validation_failed", "/tokens_used/input"),
        (json!({ "tokens_used": { "input": 1.5 } }), "invalid_body", "/tokens_used/input"),
        (json!({ "tokens_used": { "In": 1 } }), "validation_failed", "/tokens_used"),
        (json!({ "tokens_used": [1] }), "invalid_body", "/tokens_used"),
        (json!({ "tool_calls": [1] }), "validation_failed", "/tool_calls/0"),
        (json!({ "tool_calls": [{ "a": "\u{0}" }] }), "validation_failed", "/tool_calls/0"),
        (json!({ "tool_calls": { "a": 1 } }), "invalid_body", "/tool_calls"),
        (json!({ "status": "ended" }), "invalid_body", "/status"),
    ] {
        let answer = company.report(&session, report.clone()).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{report}");
    }
    assert_eq!(company.get(&at("sessions", &session)).await.json(), session);
    let nowhere = json!({ "id": Uuid::new_v4() });
    for answer in [
        company.get(&at("sessions", &nowhere)).await,
        company.report(&nowhere, json!({})).await,
        company.over(&nowhere, "end").await,
        company.over(&nowhere, "fail").await,
    ] {
        assert_eq!(answer.verdict(), refusal(404, "session_not_found"));
    }
}

#[tokio::test]
async fn parallel_reports_are_all_counted_and_repeated_ones_once() {
    let company = Company::open().await;
    let session = company.run(&company.agent("Mira").await).await;
    let reports = (0..24).map(|n| {
        let report = json!({ "tokens_used": { "input": 10, "output": n }, "tool_calls": [{ "n": n }] });
        let path = format!("{}/usage", at("sessions", &session));
        // each is sent twice, as a client does that lost the answer
        let company = &company;
        async move {
            let send = || {
                let request = company.server.by(&company.tenant, Method::POST, &path);
                Answer::to(request.header("idempotency-key", format!("report {n}")).json(&report))
            };
            (send().await, send().await)
        }
    });
    for (first, second) in join_all(reports).await {
        assert_eq!((first.status, second.status), (200, 200), "{} {}", first.text, second.text);
        assert_eq!(first.json(), second.json());
    }
    let used = company.get(&at("sessions", &session)).await.json();
    assert_eq!(used["tokens_used"], json!({ "input": 240, "output": 276 }));
    assert_eq!(used["tool_calls"].as_array().unwrap().len(), 24);
}

#[tokio::test]
async fn a_session_ends_once_and_no_report_comes_after() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    for _ in 0..3 {
        let session = company.run(&mira).await;
        let ends = ["end", "fail"].into_iter().cycle().take(6).map(|how| company.over(&session, how));
        let reports = (0..6).map(|_| company.report(&session, json!({ "tokens_used": { "input": 1 } })));
        let (ends, reports) = tokio::join!(join_all(ends), join_all(reports));
        assert_eq!(ends.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(ends.iter().filter(|answer| answer.verdict() == refusal(409, "session_ended")).count(), 5);
        let counted = reports.iter().filter(|answer| answer.status == 200).count();
        let now = company.get(&at("sessions", &session)).await.json();
        assert_eq!(now["tokens_used"]["input"].as_u64().unwrap_or_default(), u64::try_from(counted).unwrap());
    }
}

#[tokio::test]
async fn a_full_session_says_so() {
    let company = Company::open().await;
    let session = company.run(&company.agent("Mira").await).await;
    for _ in 0..10 {
        assert_eq!(company.report(&session, json!({ "tool_calls": vec![json!({}); 100] })).await.status, 200);
    }
    let full = company.report(&session, json!({ "tokens_used": { "input": 1 }, "tool_calls": [{}] })).await;
    assert_eq!((full.verdict(), pointers(&full)), (refusal(409, "session_full"), vec!["/tool_calls".to_owned()]));
    let counted = company.report(&session, json!({ "tokens_used": { "input": 2 } })).await.json();
    assert_eq!(
        (&counted["tokens_used"], counted["tool_calls"].as_array().unwrap().len()),
        (&json!({ "input": 2 }), 1000)
    );
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let task = company.task(&mira, "one").await;
    let a = company.run(&mira).await;
    let b = company.make(LIST, json!({ "agent_id": mira["id"], "task_id": task["id"] })).await;
    let c = company.run(&noor).await;
    company.over(&a, "end").await;
    company.over(&c, "fail").await;
    let (mira, task) = (mira["id"].as_str().unwrap(), task["id"].as_str().unwrap());
    let since = b["started_at"].as_str().unwrap();
    let filtered = [
        (String::new(), vec![&c, &b, &a]),
        (format!("agent_id={mira}"), vec![&b, &a]),
        (format!("task_id={task}"), vec![&b]),
        ("status=active".to_owned(), vec![&b]),
        (format!("status=ended&agent_id={mira}"), vec![&a]),
        ("status=ended,failed".to_owned(), vec![&c, &a]),
        ("sort=started_at&fields=id".to_owned(), vec![&a, &b, &c]),
        (format!("sort=started_at&agent_id={mira}"), vec![&a, &b]),
        (format!("since={since}"), vec![&c, &b]),
        (format!("until={since}"), vec![&a]),
    ];
    for (query, expected) in filtered {
        let expected: Vec<&str> = expected.iter().map(|session| session["id"].as_str().unwrap()).collect();
        for limit in [1, 50] {
            assert_eq!(column(&company.walk(&format!("{LIST}?{query}"), limit).await, "id"), expected, "{query}");
        }
    }
    for query in [
        "agent_id=x",
        "status=running",
        "since=soon",
        "until=1960-01-01T00:00:00Z",
        "limit=0",
        "tokens=1",
        "sort=tokens",
        "fields=x",
    ] {
        assert_eq!(company.get(&format!("{LIST}?{query}")).await.verdict(), refusal(400, "invalid_query"), "{query}");
    }
}
