//! Every error code of the domain can be met, and what it says of itself is so.

use std::collections::BTreeSet;

use isolation::server::Answer;
use serde_json::json;
use tenantry_postgres::TenantPatch;
use uuid::Uuid;

use crate::company::{Company, at};

#[tokio::test]
async fn every_code_of_the_domain_can_be_met() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let task = company.task(&mira, "one").await;
    let (agent, unknown) = (at("agents", &mira), Uuid::new_v4());
    let mut answers: Vec<Answer> = vec![
        company.get(&format!("/v1/agents/{unknown}")).await,
        company.get(&format!("/v1/tasks/{unknown}")).await,
        company.patch(&agent, json!({ "role": "x" })).await,
        company.patch(&agent, json!({ "version": 9 })).await,
        company.patch_if(&agent, "*", json!({})).await,
        company.post("/v1/agents", json!({ "name": "Mira", "role": "x" })).await,
        company.post("/v1/tasks", json!({ "agent_id": unknown, "title": "x" })).await,
        company.patch(&agent, json!({ "version": 1, "current_task_id": unknown })).await,
        company.patch(&at("tasks", &task), json!({ "version": 1, "provider_account_id": unknown })).await,
        company.patch(&at("tasks", &task), json!({ "version": 1, "status": "completed" })).await,
        company.post("/v1/agents", json!({ "name": "", "role": "x" })).await,
        company.get("/v1/agents?cursor=x").await,
    ];
    company.limit(TenantPatch { max_agents: Some(Some(1)), ..TenantPatch::default() }).await;
    company.limit_running(Some(0)).await;
    answers.push(company.post("/v1/agents", json!({ "name": "Otto", "role": "x" })).await);
    answers.push(company.patch(&at("tasks", &task), json!({ "version": 1, "status": "in_progress" })).await);
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
