use futures_util::future::join_all;
use isolation::server::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const TASKS: &str = "/v1/tasks/bulk";
const AGENTS: &str = "/v1/agents/bulk";

fn statuses(answer: &Answer) -> Vec<u64> {
    let items = answer.json()["items"].as_array().cloned().unwrap_or_default();
    let indices: Vec<u64> = items.iter().map(|item| item["index"].as_u64().unwrap()).collect();
    assert!(indices.iter().is_sorted());
    items.iter().map(|item| item["status"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn items_succeed_and_fail_by_themselves() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let (task, other) = (company.task(&agent, "one").await, company.task(&agent, "two").await);
    let items = json!([
        { "op": "create", "agent_id": agent["id"], "title": "new", "depends_on": [task["id"]] },
        { "op": "create", "agent_id": agent["id"], "title": "" },
        { "op": "update", "id": task["id"], "version": 1, "title": "changed", "status": "in_progress" },
        { "op": "update", "id": task["id"], "version": 1, "title": "too late" },
        { "op": "create", "agent_id": Uuid::nil(), "title": "x" },
        { "op": "update", "id": other["id"], "version": 1, "provider_account_id": Uuid::nil() },
        { "op": "update", "id": other["id"], "title": "x" },
        { "op": "update", "id": Uuid::nil(), "version": 1 },
        { "op": "update", "id": other["id"], "version": 1, "priority": "asap" },
        { "op": "delete", "id": other["id"] },
        { "op": "update", "id": other["id"], "version": 1, "status": "completed" },
        { "op": "update", "id": "x", "version": 1 },
        { "agent_id": agent["id"], "title": "x" },
        "create",
        { "op": "update", "id": other["id"], "version": 1, "priority": "low" },
    ]);
    let answer = company.post(TASKS, json!({ "items": items })).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    assert_eq!(statuses(&answer), [201, 422, 200, 409, 422, 422, 428, 404, 422, 422, 409, 422, 422, 422, 200]);
    let body = answer.json();
    assert_eq!((&body["succeeded"], &body["failed"]), (&json!(3), &json!(12)));
    let failures: Vec<(&str, &str)> = body["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| {
            let problem = item.get("problem")?;
            assert!(item.get("record").is_none());
            assert_eq!(problem["status"], item["status"]);
            Some((problem["code"].as_str()?, problem["errors"][0]["pointer"].as_str().unwrap_or_default()))
        })
        .collect();
    let expected = [
        ("validation_failed", "/items/1/title"),
        ("version_conflict", ""),
        ("unknown_agent", "/items/4/agent_id"),
        ("unknown_provider_account", "/items/5/provider_account_id"),
        ("version_required", "/items/6/version"),
        ("task_not_found", ""),
        ("invalid_body", "/items/8/priority"),
        ("invalid_body", "/items/9/op"),
        ("illegal_transition", ""),
        ("invalid_body", "/items/11/id"),
        ("invalid_body", "/items/12"),
        ("invalid_body", "/items/13"),
    ];
    assert_eq!(failures, expected);
    let after = company.get(&at("tasks", &task)).await.json();
    assert_eq!((&after, &after["title"]), (&body["items"][2]["record"], &json!("changed")));
    assert_eq!(company.get(&at("tasks", &other)).await.json(), body["items"][14]["record"]);
    assert_eq!(column(&company.walk("/v1/tasks?sort=title", 50).await, "title"), ["changed", "new", "two"]);
    let target = |task: &Value| format!("task/{}", task["id"].as_str().unwrap());
    let events = company.events(&target(&other)).await;
    assert_eq!(events.len(), 2, "what failed left no event: {events:?}");
}

#[tokio::test]
async fn all_or_nothing_says_what_stood_in_the_way() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let fine = json!({ "op": "create", "agent_id": agent["id"], "title": "fine" });
    let unknown = json!({ "op": "create", "agent_id": Uuid::nil(), "title": "x" });
    let broken = json!({ "op": "create", "agent_id": agent["id"], "title": "" });
    let answer = company.post(TASKS, json!({ "atomic": true, "items": [fine, unknown, fine, unknown] })).await;
    assert_eq!((answer.verdict(), statuses(&answer)), (refusal(422, "bulk_rejected"), vec![422, 422]));
    assert_eq!(pointers(&answer), ["/items/1/agent_id", "/items/3/agent_id"]);
    let answer = company.post(TASKS, json!({ "atomic": true, "items": [fine, broken] })).await;
    assert_eq!(
        (answer.verdict(), pointers(&answer)),
        (refusal(422, "bulk_rejected"), vec!["/items/1/title".to_owned()])
    );
    assert!(company.walk("/v1/tasks", 50).await.is_empty());
    let answer = company.post(TASKS, json!({ "atomic": true, "items": [fine, fine] })).await;
    assert_eq!((answer.status, statuses(&answer)), (200, vec![201, 201]));
    assert_eq!(company.walk("/v1/tasks", 50).await.len(), 2);
}

#[tokio::test]
async fn agents_change_in_bulk_as_well() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let items = json!([
        { "op": "create", "name": "Noor", "role": "sales" },
        { "op": "create", "name": "Mira", "role": "taken" },
        { "op": "update", "id": mira["id"], "version": 1, "name": "Myra" },
        { "op": "create", "name": "Mira", "role": "free again" },
        { "op": "update", "id": mira["id"], "version": 2, "current_task_id": Uuid::nil() },
    ]);
    let answer = company.post(AGENTS, json!({ "items": items })).await;
    assert_eq!((answer.status, statuses(&answer)), (207, vec![201, 409, 200, 201, 422]));
    assert_eq!(answer.json()["items"][1]["problem"]["errors"][0]["pointer"], "/items/1/name");
    assert_eq!(column(&company.walk("/v1/agents?sort=name", 50).await, "name"), ["Mira", "Myra", "Noor"]);
}

#[tokio::test]
async fn a_request_has_bounds_and_a_key() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let item = json!({ "op": "create", "agent_id": agent["id"], "title": "t" });
    for count in [0, 1001] {
        let answer = company.post(TASKS, json!({ "items": vec![&item; count] })).await;
        assert_eq!(
            (answer.verdict(), pointers(&answer)),
            (refusal(422, "validation_failed"), vec!["/items".to_owned()])
        );
    }
    for body in [json!({}), json!({ "items": {} }), json!({ "items": [], "atomic": 1 }), json!({ "tasks": [] })] {
        assert_eq!(company.post(TASKS, body.clone()).await.verdict(), refusal(422, "invalid_body"), "{body}");
    }
    let most = json!({ "items": vec![&item; 1000] });
    let send = || {
        let request = company.server.by(&company.tenant, Method::POST, TASKS);
        Answer::to(request.header("idempotency-key", "bulk-1").json(&most))
    };
    let (first, again) = (send().await, send().await);
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.text, again.text, "the same answer");
    assert_eq!(company.walk("/v1/tasks", 200).await.len(), 1000, "one effect");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_meet_in_any_order_do_not_wait_for_each_other_in_a_circle() {
    let company = Company::open().await;
    let agents = [company.agent("Mira").await, company.agent("Noor").await];
    let mut tasks = Vec::new();
    for n in 0..12 {
        tasks.push(company.task(&agents[n % 2], &format!("t{n}")).await);
    }
    for version in [1, 2] {
        let status = if version == 1 { "in_progress" } else { "completed" };
        let update = |task: &Value| json!({ "op": "update", "id": task["id"], "version": version, "status": status });
        let create = |n: usize| {
            let wait = &tasks[(n * 5) % 12]["id"];
            json!({ "op": "create", "agent_id": agents[n % 2]["id"], "title": "new", "depends_on": [wait] })
        };
        let forth: Vec<Value> = (0..12).flat_map(|n| [update(&tasks[n]), create(n)]).collect();
        let back: Vec<Value> = forth.iter().rev().cloned().collect();
        let answers =
            join_all([company.post(TASKS, json!({ "items": forth })), company.post(TASKS, json!({ "items": back }))])
                .await;
        for answer in &answers {
            assert!([200, 207].contains(&answer.status), "{}", answer.text);
        }
        let done = answers.iter().flat_map(statuses).filter(|status| *status == 200).count();
        assert_eq!(done, 12, "each task was changed by one of the two");
    }
}
