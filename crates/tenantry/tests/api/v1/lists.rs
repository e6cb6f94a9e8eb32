use isolation::server::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::company::{Company, at, column, refusal};

#[tokio::test]
async fn a_cursor_belongs_to_one_order() {
    let company = Company::open().await;
    for name in ["c", "a", "b"] {
        company.agent(name).await;
    }
    assert_eq!(column(&company.walk("/v1/agents?sort=name", 1).await, "name"), ["a", "b", "c"]);
    assert_eq!(column(&company.walk("/v1/agents?sort=-name", 2).await, "name"), ["c", "b", "a"]);
    assert_eq!(column(&company.walk("/v1/agents?sort=created_at", 2).await, "name"), ["c", "a", "b"]);
    assert_eq!(company.walk("/v1/agents?sort=-created_at", 2).await, company.walk("/v1/agents", 2).await);
    let cursor = company.get("/v1/agents?sort=name&limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    for other in ["", "&sort=-name", "&sort=updated_at"] {
        let answer = company.get(&format!("/v1/agents?cursor={cursor}{other}")).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_cursor"), "{other}");
    }
    assert_eq!(company.get(&format!("/v1/agents?sort=name&cursor={cursor}")).await.status, 200);
}

#[tokio::test]
async fn parameters_that_cannot_be_meant_are_refused_with_what_can() {
    let company = Company::open().await;
    for (query, parameter, hint) in [
        ("agents?sort=deadline", "sort", "`-updated_at`"),
        ("agents?sort=", "sort", "`created_at`"),
        ("tasks?sort=updated_at", "sort", "`deadline`"),
        ("agents?fields=id,naem", "fields", "`naem` is not a field; fields are id, name, role"),
        ("tasks?fields=", "fields", "fields are id, agent_id"),
        ("tasks?status=pending,done", "status", "`done` is not an accepted task status, expected one of `pending`"),
        ("tasks?status=", "status", "expected one of"),
        ("tasks?priority=high,%20low", "priority", "expected one of `low`"),
        ("tasks?ready=yes", "ready", ""),
        ("tasks?created_after=1960-01-01T00:00:00Z", "created_after", "1970"),
        ("agents?created_before=soon", "created_before", ""),
        ("agents?q=a%00", "q", "NUL"),
    ] {
        let answer = company.get(&format!("/v1/{query}")).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_query"), "{query}");
        let error = &answer.json()["errors"][0];
        assert_eq!(error["parameter"], parameter, "{query}");
        assert!(error["detail"].as_str().unwrap().contains(hint), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn rows_have_the_members_asked_for() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let task = company.task(&agent, "one").await;
    company.task(&agent, "two").await;
    let page = company.get("/v1/tasks?fields=title,id&sort=title&limit=1").await;
    assert_eq!(page.json()["data"], json!([{ "id": task["id"], "title": "one" }]));
    assert!(page.text.starts_with(r#"{"data":[{"id":"#), "in the order of the record: {}", page.text);
    let next = page.json()["next_cursor"].as_str().unwrap().to_owned();
    let next = company.get(&format!("/v1/tasks?fields=deadline&sort=title&cursor={next}")).await.json();
    assert_eq!(next, json!({ "data": [{ "deadline": null }], "next_cursor": null }));
    let all: Vec<String> = agent.as_object().unwrap().keys().cloned().collect();
    let whole = company.get(&format!("/v1/agents?fields={}", all.join(","))).await.json();
    assert_eq!(whole["data"], json!([agent]));
}

#[tokio::test]
async fn filters_take_several_values_and_parts_of_names() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let [one, two] = ["Call Bob", "Write to Ann"].map(|title| json!({ "agent_id": agent["id"], "title": title }));
    let (one, two) = (company.make("/v1/tasks", one).await, company.make("/v1/tasks", two).await);
    company.patch(&at("tasks", &two), json!({ "version": 1, "status": "blocked" })).await;
    let waits = json!({ "agent_id": agent["id"], "title": "waits", "priority": "high", "depends_on": [one["id"]] });
    company.make("/v1/tasks", waits).await;
    for (query, expected) in [
        ("status=pending,blocked", vec!["Call Bob", "waits", "Write to Ann"]),
        ("status=blocked,failed", vec!["Write to Ann"]),
        ("priority=urgent,high", vec!["waits"]),
        ("q=ann", vec!["Write to Ann"]),
        ("q=CALL%20b", vec!["Call Bob"]),
        ("q=%25", vec![]),
        ("ready=true", vec!["Call Bob"]),
        ("ready=false", vec!["waits", "Write to Ann"]),
        ("ready=false&status=pending", vec!["waits"]),
    ] {
        let rows: Vec<Value> = company.walk(&format!("/v1/tasks?sort=title&{query}"), 1).await;
        assert_eq!(column(&rows, "title"), expected, "{query}");
    }
    let made = two["created_at"].as_str().unwrap();
    assert_eq!(column(&company.walk(&format!("/v1/tasks?created_before={made}"), 5).await, "title"), ["Call Bob"]);
    let later = company.walk(&format!("/v1/tasks?created_after={made}"), 5).await;
    assert_eq!(column(&later, "title"), ["waits", "Write to Ann"]);
}

#[tokio::test]
async fn who_knows_the_version_gets_no_body() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let task = company.task(&agent, "one").await;
    let account = json!({ "provider": "openai", "name": "ours", "owner_key": "us", "access_token": "secret-token" });
    let account = company.make("/v1/provider-accounts", account).await;
    let member = company.make("/v1/members", json!({ "subject": "ann", "role": "member" })).await;
    let credential = json!({
        "name": "crm", "service": "crm.example", "value": "secret-value", "injection": { "as": "bearer" }, "allowed_agents": [agent["id"]],
    });
    company.make("/v1/credentials", credential).await;
    for (path, change) in [
        (at("agents", &agent), json!({})),
        (at("tasks", &task), json!({})),
        (at("provider-accounts", &account), json!({ "owner_key": "you" })),
        (at("members", &member), json!({ "role": "viewer" })),
        ("/v1/credentials/crm".to_owned(), json!({ "allowed_agents": [] })),
    ] {
        let mut change = change;
        change["version"] = json!(1);
        let ask =
            |tag: &str| Answer::to(company.server.by(&company.tenant, Method::GET, &path).header("if-none-match", tag));
        let known = ask("\"1\"").await;
        assert_eq!((known.status, known.text.as_str(), known.header("etag")), (304, "", "\"1\""));
        let made = company.patch(&path, change).await;
        assert_eq!(made.status, 200, "{path}: {}", made.text);
        let changed = ask("\"1\"").await;
        assert_eq!((changed.status, changed.header("etag"), &changed.json()["version"]), (200, "\"2\"", &json!(2)));
        assert_eq!(ask("W/\"1\", \"2\"").await.status, 304);
    }
}
