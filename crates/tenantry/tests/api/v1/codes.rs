//! Every error code of the domain can be met, and what it says of itself is so.

use std::collections::BTreeSet;

use isolation::server::Answer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at};

#[tokio::test]
async fn every_code_of_the_domain_can_be_met() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let task = company.task(&mira, "one").await;
    let (agent, unknown) = (at("agents", &mira), Uuid::new_v4());
    let noor = company.agent("Noor").await;
    let message = json!({ "from_agent_id": mira["id"], "to_agent_id": noor["id"], "body": "x" });
    let message = at("messages", &company.make("/v1/messages", message).await);
    let draft = json!({ "from_agent_id": mira["id"], "type": "external_draft", "external_recipient": "a@b.example", "body": "x" });
    let draft = at("messages", &company.make("/v1/messages", draft).await);
    assert_eq!(company.post(&format!("{draft}/reject"), json!({})).await.status, 200);
    let sessions = [json!({ "agent_id": mira["id"] }), json!({ "agent_id": mira["id"] })];
    let full_session = at("sessions", &company.make("/v1/sessions", sessions[0].clone()).await);
    for _ in 0..10 {
        let calls = json!({ "tool_calls": vec![json!({}); 100] });
        assert_eq!(company.post(&format!("{full_session}/usage"), calls).await.status, 200);
    }
    let ended = at("sessions", &company.make("/v1/sessions", sessions[1].clone()).await);
    assert_eq!(company.post(&format!("{ended}/end"), json!({})).await.status, 200);
    let thread = format!("/v1/messages/threads/{}/{}/read", mira["id"].as_str().unwrap(), noor["id"].as_str().unwrap());
    let (other, under_way) = (company.task(&mira, "two").await, company.task(&mira, "three").await);
    let below = |task: &Value| format!("{}/dependencies", at("tasks", task));
    let waiting = company.post(&below(&other), json!({ "depends_on_task_id": task["id"] })).await;
    assert_eq!(waiting.status, 201);
    company.patch(&at("tasks", &under_way), json!({ "version": 1, "status": "in_progress" })).await;
    let offline = company.make("/v1/agents", json!({ "name": "Off", "role": "x", "status": "offline" })).await;
    let new = json!({ "op": "create", "agent_id": mira["id"], "title": "t" });
    let many = company.post("/v1/tasks/bulk", json!({ "items": vec![new; 101] })).await.json();
    let mut many: Vec<Value> =
        many["items"].as_array().unwrap().iter().map(|item| item["record"]["id"].clone()).collect();
    let last = json!({ "depends_on_task_id": many.pop() });
    let full = json!({ "agent_id": mira["id"], "title": "full", "depends_on": many });
    let full = company.make("/v1/tasks", full).await;
    let answers: Vec<Answer> = vec![
        company.get(&format!("/v1/agents/{unknown}")).await,
        company.get(&format!("/v1/tasks/{unknown}")).await,
        company.get(&format!("/v1/schedules/{unknown}")).await,
        company.patch(&agent, json!({ "role": "x" })).await,
        company.patch(&agent, json!({ "version": 9 })).await,
        company.patch_if(&agent, "*", json!({})).await,
        company.post("/v1/agents", json!({ "name": "Mira", "role": "x" })).await,
        company.post("/v1/tasks", json!({ "agent_id": unknown, "title": "x" })).await,
        company.patch(&agent, json!({ "version": 2, "current_task_id": unknown })).await,
        company.patch(&at("tasks", &task), json!({ "version": 1, "provider_account_id": unknown })).await,
        company.patch(&at("tasks", &task), json!({ "version": 1, "status": "completed" })).await,
        company.post("/v1/agents", json!({ "name": "", "role": "x" })).await,
        company.get("/v1/agents?cursor=x").await,
        company.get(&format!("/v1/messages/{unknown}")).await,
        company.get(&format!("/v1/activity/{unknown}")).await,
        company.get(&format!("/v1/sessions/{unknown}")).await,
        company.post(&thread, json!({ "up_to": unknown })).await,
        company.post(&format!("{message}/approve"), json!({ "version": 1 })).await,
        company.post(&format!("{draft}/approve"), json!({ "version": 2 })).await,
        company.patch(&message, json!({ "version": 1, "body": "y" })).await,
        company.post(&format!("{ended}/usage"), json!({})).await,
        company.post(&format!("{full_session}/usage"), json!({ "tool_calls": [{}] })).await,
        company.delete(&format!("{}/{unknown}", below(&task))).await,
        company.post(&below(&task), json!({ "depends_on_task_id": other["id"] })).await,
        company.patch(&at("tasks", &other), json!({ "version": 1, "status": "in_progress" })).await,
        company.post(&below(&under_way), json!({ "depends_on_task_id": task["id"] })).await,
        company.post(&below(&full), last).await,
        company.post("/v1/tasks/claim", json!({ "agent_id": offline["id"] })).await,
        company.post("/v1/tasks/bulk", json!({ "atomic": true, "items": [{ "op": "create" }] })).await,
    ];
    let mut met = BTreeSet::new();
    for answer in &answers {
        let (status, code) = answer.verdict();
        let mut declared = workforce::codes::CODES.iter().chain(tenantry_http::codes::CODES);
        let known = declared.find(|known| known.code == code);
        let known = known.unwrap_or_else(|| panic!("`{code}` is declared nowhere: {}", answer.text));
        let body = answer.json();
        assert_eq!((status, body["title"].as_str().unwrap()), (known.status, known.title));
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(body["type"], format!("{}{code}", tenantry_http::TYPE_BASE));
        assert_eq!((&body["error"], &body["message"]), (&body["title"], &body["detail"]));
        assert_eq!(body["request_id"], answer.header("x-request-id"));
        met.insert(code);
    }
    let unmet: Vec<&str> = workforce::codes::CODES.iter().map(|c| c.code).filter(|code| !met.contains(*code)).collect();
    assert!(unmet.is_empty(), "codes of the domain without a request here that meets them: {unmet:?}");
}
