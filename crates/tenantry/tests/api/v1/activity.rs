use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use isolation::server::Answer;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/activity";

#[tokio::test]
async fn an_entry_is_appended_and_stays() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let task = company.task(&mira, "one").await;
    let body = json!({ "agent_id": mira["id"], "task_id": task["id"], "action": "ticket.answered", "details": { "ticket": 4711 } });
    let made = company.post(LIST, body).await;
    let entry = made.json();
    assert_eq!((made.status, made.header("location")), (201, at("activity", &entry).as_str()));
    let expected = json!({
        "id": entry["id"], "agent_id": mira["id"], "task_id": task["id"], "action": "ticket.answered",
        "details": { "ticket": 4711 }, "timestamp": entry["timestamp"],
    });
    assert_eq!(entry, expected);
    for method in [Method::PATCH, Method::PUT, Method::DELETE] {
        let request = company.server.by(&company.tenant, method.clone(), &at("activity", &entry));
        let answer = Answer::to(request.json(&json!({ "action": "nothing" }))).await;
        assert_eq!(answer.verdict(), refusal(405, "method_not_allowed"), "{method}");
    }
    assert_eq!(company.get(made.header("location")).await.json(), entry);
    let unknown = company.get(&format!("{LIST}/{}", Uuid::new_v4())).await;
    assert_eq!(unknown.verdict(), refusal(404, "activity_not_found"));
    let told = company.events(&format!("activity/{}", entry["id"].as_str().unwrap())).await;
    assert_eq!(told[0].0, "activity.append");
}

#[tokio::test]
async fn broken_members_are_pointed_to() {
    let company = Company::open().await;
    let (mira, gone) = (company.agent("Mira").await, company.agent("Gone").await);
    assert_eq!(company.delete(&at("agents", &gone)).await.status, 204);
    let broken = [
        (json!({ "action": "" }), "validation_failed", "/action"),
        (json!({ "action": "x".repeat(201) }), "validation_failed", "/action"),
        (json!({ "action": "a\nb" }), "validation_failed", "/action"),
        (json!({ "details": "\u{0}" }), "validation_failed", "/details"),
        (json!({ "details": "x".repeat(70_000) }), "validation_failed", "/details"),
        (json!({ "timestamp": "2020-01-01T00:00:00Z" }), "invalid_body", "/timestamp"),
        (json!({ "agent_id": gone["id"] }), "unknown_agent", "/agent_id"),
        (json!({ "agent_id": Uuid::new_v4() }), "unknown_agent", "/agent_id"),
        (json!({ "task_id": Uuid::new_v4() }), "unknown_task", "/task_id"),
    ];
    for (change, code, pointer) in broken {
        let mut body = json!({ "agent_id": mira["id"], "action": "fine" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = company.post(LIST, body).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{change}");
    }
    assert!(company.walk(LIST, 50).await.is_empty());
}

#[tokio::test]
async fn the_log_is_filtered_and_paged() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let task = company.task(&mira, "one").await;
    let mut entries: Vec<Value> = Vec::new();
    for (agent, task, action) in
        [(&mira, None, "a"), (&noor, Some(&task), "b"), (&mira, Some(&task), "c"), (&mira, None, "a")]
    {
        let task = task.map(|task| task["id"].clone());
        entries.push(company.make(LIST, json!({ "agent_id": agent["id"], "task_id": task, "action": action })).await);
    }
    let (mira, task) = (mira["id"].as_str().unwrap(), task["id"].as_str().unwrap());
    let since = entries[1]["timestamp"].as_str().unwrap();
    let filtered = [
        (String::new(), vec!["a", "c", "b", "a"]),
        (format!("agent_id={mira}"), vec!["a", "c", "a"]),
        (format!("task_id={task}"), vec!["c", "b"]),
        (format!("task_id={task}&agent_id={mira}"), vec!["c"]),
        ("action=a".to_owned(), vec!["a", "a"]),
        ("action=b,c".to_owned(), vec!["c", "b"]),
        ("sort=timestamp".to_owned(), vec!["a", "b", "c", "a"]),
        (format!("sort=timestamp&task_id={task}"), vec!["b", "c"]),
        (format!("sort=timestamp&agent_id={mira}&fields=action"), vec!["a", "c", "a"]),
        (format!("since={since}&action=a"), vec!["a"]),
        (format!("until={since}"), vec!["a"]),
        (format!("task_id={}", Uuid::new_v4()), vec![]),
    ];
    for (query, expected) in filtered {
        for limit in [1, 50] {
            assert_eq!(column(&company.walk(&format!("{LIST}?{query}"), limit).await, "action"), expected, "{query}");
        }
    }
    for query in [
        "agent_id=x",
        "task_id=x",
        "since=soon",
        "until=1960-01-01T00:00:00Z",
        "limit=201",
        "details=x",
        "sort=action",
        "fields=",
        "action=a%00",
    ] {
        assert_eq!(company.get(&format!("{LIST}?{query}")).await.verdict(), refusal(400, "invalid_query"), "{query}");
    }
}
