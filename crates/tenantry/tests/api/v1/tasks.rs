use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/tasks";
const STATUSES: [&str; 6] = ["pending", "in_progress", "blocked", "completed", "failed", "cancelled"];

/// The steps of the approved machine, written out once more: this is the contract, not the code.
fn allowed(from: &str) -> &'static [&'static str] {
    match from {
        "pending" => &["in_progress", "blocked", "cancelled"],
        "in_progress" => &["blocked", "completed", "failed", "cancelled"],
        "blocked" => &["pending", "in_progress", "cancelled"],
        "failed" => &["pending"],
        _ => &[],
    }
}

async fn account(company: &Company) -> Uuid {
    let sql = format!(
        "INSERT INTO {}.provider_accounts (tenant_id, provider, encrypted_access_token) \
         SELECT id, 'openai', 'x' FROM public.tenants WHERE slug = $1 RETURNING id",
        company.tenant.schema
    );
    company.server.database.admin().await.query_one(&sql, &[&company.tenant.slug]).await.unwrap().get(0)
}

impl Company {
    /// The task with its status changed, which must be allowed.
    async fn step(&self, task: &Value, to: &str) -> Value {
        let answer = self.patch(&at("tasks", task), json!({ "version": task["version"], "status": to })).await;
        assert_eq!(answer.status, 200, "to {to}: {}", answer.text);
        answer.json()
    }

    /// A new task, brought to a status.
    async fn task_that_is(&self, agent: &Value, status: &str) -> Value {
        let mut task = self.task(agent, status).await;
        let way: &[&str] = match status {
            "pending" => &[],
            "completed" | "failed" => &["in_progress", status],
            _ => &[status],
        };
        for step in way {
            task = self.step(&task, step).await;
        }
        task
    }
}

#[tokio::test]
async fn a_new_task_has_an_address_a_version_and_defaults() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let made = company.post(LIST, json!({ "agent_id": agent["id"], "title": "Answer ticket 4711" })).await;
    let task = made.json();
    assert_eq!(
        (made.status, made.header("etag"), made.header("location")),
        (201, "\"1\"", at("tasks", &task).as_str())
    );
    let expected = json!({
        "id": task["id"], "agent_id": agent["id"], "created_by_id": agent["id"], "title": "Answer ticket 4711",
        "description": "", "status": "pending", "previous_status": null, "priority": "normal", "progress_percent": 0,
        "progress_details": {}, "result": null, "deadline": null, "started_at": null, "completed_at": null,
        "error_details": null, "version": 1, "retry_count": 0, "max_retries": 3, "created_at": task["created_at"],
        "deleted_at": null, "provider": null, "provider_account_id": null,
    });
    assert_eq!(task, expected);
    let read = company.get(made.header("location")).await;
    assert_eq!((read.status, read.header("etag"), read.json()), (200, "\"1\"", task.clone()));
    let events = company.events(&format!("task/{}", task["id"].as_str().unwrap())).await;
    assert_eq!(events, [("task.create".to_owned(), json!({ "title": "Answer ticket 4711", "agent_id": agent["id"] }))]);
}

#[tokio::test]
async fn all_members_come_back_as_they_were() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let body = json!({
        "agent_id": mira["id"], "created_by_id": noor["id"], "title": "Übersetze 日本語 🦀", "description": "a\n\tb'; --",
        "priority": "urgent", "deadline": "2030-06-01T12:00:00+02:00", "max_retries": 0, "provider": "openai",
        "provider_account_id": account(&company).await,
    });
    let task = company.make(LIST, body.clone()).await;
    for (member, value) in body.as_object().unwrap() {
        let expected = if member == "deadline" { &json!("2030-06-01T10:00:00Z") } else { value };
        assert_eq!(task[member], *expected, "{member}");
    }
    let longest = json!({ "agent_id": mira["id"], "title": "ä".repeat(300), "description": "x".repeat(64 * 1024) });
    company.make(LIST, longest).await;
    for deadline in [
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2030-06-30T23:59:60Z",
        "2030-01-01T00:00:00.123456789Z",
    ] {
        let task = json!({ "agent_id": mira["id"], "title": "x", "deadline": deadline });
        assert!(company.make(LIST, task).await["deadline"].is_string(), "{deadline}");
    }
}

#[tokio::test]
async fn members_that_break_their_rules_are_pointed_to() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let broken = [
        (json!({ "title": "" }), "validation_failed", "/title"),
        (json!({ "title": "x".repeat(301) }), "validation_failed", "/title"),
        (json!({ "title": "a\u{0}" }), "validation_failed", "/title"),
        (json!({ "title": "a\r\nb" }), "validation_failed", "/title"),
        (json!({ "description": "x".repeat(64 * 1024 + 1) }), "validation_failed", "/description"),
        (json!({ "description": "\u{0}" }), "validation_failed", "/description"),
        (json!({ "max_retries": -1 }), "validation_failed", "/max_retries"),
        (json!({ "max_retries": 101 }), "validation_failed", "/max_retries"),
        (json!({ "max_retries": 4_294_967_296_i64 }), "invalid_body", "/max_retries"),
        (json!({ "provider": "Open AI" }), "validation_failed", "/provider"),
        (json!({ "provider": "a\u{0}" }), "validation_failed", "/provider"),
        (json!({ "provider": "x".repeat(64) }), "validation_failed", "/provider"),
        (json!({ "deadline": "1969-12-31T23:59:59Z" }), "validation_failed", "/deadline"),
        (json!({ "deadline": "+10000-01-01T00:00:00Z" }), "validation_failed", "/deadline"),
        (json!({ "deadline": "tomorrow" }), "invalid_body", "/deadline"),
        (json!({ "priority": "asap" }), "invalid_body", "/priority"),
        (json!({ "agent_id": "1" }), "invalid_body", "/agent_id"),
        (json!({ "agent_id": null }), "invalid_body", "/agent_id"),
        (json!({ "provider_account_id": "x" }), "invalid_body", "/provider_account_id"),
        (json!({ "status": "completed" }), "invalid_body", "/status"),
        (json!({ "tenant_id": "x" }), "invalid_body", "/tenant_id"),
        (json!({ "agent_id": Uuid::new_v4() }), "unknown_agent", "/agent_id"),
        (json!({ "created_by_id": Uuid::nil() }), "unknown_agent", "/created_by_id"),
        (json!({ "provider_account_id": Uuid::new_v4() }), "unknown_provider_account", "/provider_account_id"),
    ];
    for (change, code, pointer) in broken {
        let mut body = json!({ "agent_id": agent["id"], "title": "fine" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = company.post(LIST, body).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{change}");
    }
    let all = json!({ "agent_id": agent["id"], "title": "", "description": "\u{0}", "max_retries": -1 });
    assert_eq!(pointers(&company.post(LIST, all).await), ["/title", "/description", "/max_retries"]);
    assert!(company.walk(LIST, 50).await.is_empty());
}

#[tokio::test]
async fn a_deleted_agent_gets_and_gives_no_work() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let task = company.task(&mira, "one").await;
    assert_eq!(company.delete(&at("agents", &noor)).await.status, 204);
    let to = company.post(LIST, json!({ "agent_id": noor["id"], "title": "x" })).await;
    assert_eq!((to.verdict(), pointers(&to)), (refusal(422, "unknown_agent"), vec!["/agent_id".to_owned()]));
    let by = company.post(LIST, json!({ "agent_id": mira["id"], "created_by_id": noor["id"], "title": "x" })).await;
    assert_eq!((by.verdict(), pointers(&by)), (refusal(422, "unknown_agent"), vec!["/created_by_id".to_owned()]));
    let hand = company.patch(&at("tasks", &task), json!({ "version": 1, "agent_id": noor["id"] })).await;
    assert_eq!((hand.verdict(), pointers(&hand)), (refusal(422, "unknown_agent"), vec!["/agent_id".to_owned()]));
    assert_eq!(company.delete(&at("agents", &mira)).await.status, 204);
    let done = company.patch(&at("tasks", &task), json!({ "version": 1, "status": "in_progress" })).await;
    assert_eq!(done.status, 200, "what it has begun can be ended");
}

#[tokio::test]
async fn every_step_of_the_machine_is_allowed_or_refused() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    for from in STATUSES {
        for to in STATUSES {
            let task = company.task_that_is(&agent, from).await;
            assert_eq!(task["status"], from);
            let answer = company.patch(&at("tasks", &task), json!({ "version": task["version"], "status": to })).await;
            if from == to {
                assert_eq!(
                    (answer.status, &answer.json()["previous_status"]),
                    (200, &task["previous_status"]),
                    "a repeated step is harmless"
                );
            } else if allowed(from).contains(&to) {
                let after = answer.json();
                assert_eq!(
                    (answer.status, &after["status"], &after["previous_status"]),
                    (200, &json!(to), &json!(from))
                );
            } else {
                assert_eq!(answer.verdict(), refusal(409, "illegal_transition"), "{from} to {to}");
                let problem = answer.json();
                assert_eq!(
                    (&problem["from"], &problem["to"], &problem["allowed"]),
                    (&json!(from), &json!(to), &json!(allowed(from)))
                );
                assert_eq!(company.get(&at("tasks", &task)).await.json(), task);
            }
        }
    }
}

#[tokio::test]
async fn steps_keep_times_progress_and_retries() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let task = company.make(LIST, json!({ "agent_id": agent["id"], "title": "x", "max_retries": 1 })).await;
    let started = company.step(&task, "in_progress").await;
    assert!(started["started_at"].is_string() && started["completed_at"].is_null());
    let halfway = json!({ "version": 2, "progress_percent": 50, "progress_details": { "step": "half" } });
    let halfway = company.patch(&at("tasks", &task), halfway).await.json();
    assert_eq!((&halfway["progress_percent"], &halfway["progress_details"]), (&json!(50), &json!({ "step": "half" })));
    let failed = json!({ "version": 3, "status": "failed", "error_details": { "why": "timeout" } });
    let failed = company.patch(&at("tasks", &task), failed).await.json();
    assert!(failed["completed_at"].is_string());
    let retried = company.step(&failed, "pending").await;
    assert_eq!(
        (&retried["retry_count"], &retried["progress_percent"], &retried["started_at"]),
        (&json!(1), &json!(0), &Value::Null)
    );
    assert_eq!(retried["error_details"], json!({ "why": "timeout" }), "what went wrong is kept over a retry");
    let again = company.step(&company.step(&retried, "in_progress").await, "failed").await;
    let path = at("tasks", &task);
    let over = company.patch(&path, json!({ "version": again["version"], "status": "pending" })).await;
    assert_eq!((over.verdict(), &over.json()["allowed"]), (refusal(409, "illegal_transition"), &json!([])));
    assert!(over.json()["detail"].as_str().unwrap().contains("retries are used up (1 of 1)"), "{}", over.text);
    let more = json!({ "version": again["version"], "status": "pending", "max_retries": 2 });
    let more = company.patch(&path, more).await.json();
    assert_eq!(
        (&more["status"], &more["retry_count"]),
        (&json!("pending"), &json!(2)),
        "raising the limit allows one more"
    );
    let done = company.step(&company.step(&more, "in_progress").await, "completed").await;
    assert_eq!(done["progress_percent"], 100);
    let target = format!("task/{}", task["id"].as_str().unwrap());
    let last = company.events(&target).await.pop().unwrap();
    assert_eq!(last.1["status"], json!({ "from": "in_progress", "to": "completed" }));
}

#[tokio::test]
async fn results_are_any_json_that_can_be_kept() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let mut task = company.task(&agent, "one").await;
    let path = at("tasks", &task);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for value in [
        json!(true),
        json!(0),
        json!(-1.5),
        json!("text"),
        json!([]),
        json!({}),
        json!(1e300),
        json!(5e-324),
        json!(u64::MAX),
        json!({ "": "" }),
        json!("\u{ffff}🦀"),
        deep,
    ] {
        for member in ["result", "progress_details", "error_details"] {
            let answer = company.patch(&path, json!({ "version": task["version"], member: value })).await;
            assert_eq!(answer.status, 200, "{member} {value}: {}", answer.text);
            task = answer.json();
            assert_eq!(task[member], value, "{member}");
        }
    }
    let cleared =
        json!({ "version": task["version"], "result": null, "progress_details": null, "error_details": null });
    let cleared = company.patch(&path, cleared).await.json();
    assert_eq!(
        (&cleared["result"], &cleared["progress_details"], &cleared["error_details"]),
        (&Value::Null, &json!({}), &Value::Null)
    );
    for bad in [json!("\u{0}"), json!({ "\u{0}": 1 }), json!([["a\u{0}"]]), json!("x".repeat(70_000))] {
        for member in ["result", "progress_details", "error_details"] {
            let answer = company.patch(&path, json!({ "version": cleared["version"], member: bad })).await;
            assert_eq!(
                (answer.verdict(), pointers(&answer)),
                (refusal(422, "validation_failed"), vec![format!("/{member}")])
            );
        }
    }
    assert_eq!(company.get(&path).await.json(), cleared);
}

#[tokio::test]
async fn a_change_names_its_version_and_null_clears_what_can_be_empty() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let full = json!({
        "agent_id": mira["id"], "title": "x", "description": "y", "deadline": "2030-01-01T00:00:00Z", "provider": "openai",
        "provider_account_id": account(&company).await,
    });
    let task = company.make(LIST, full).await;
    let path = at("tasks", &task);
    assert_eq!(company.patch(&path, json!({ "title": "z" })).await.verdict(), refusal(428, "version_required"));
    let stale = company.patch(&path, json!({ "version": 9, "title": "z" })).await;
    assert_eq!((stale.verdict(), &stale.json()["current"]), (refusal(409, "version_conflict"), &task));
    assert_eq!(company.patch_if(&path, "W/\"1\"", json!({})).await.verdict(), refusal(400, "invalid_precondition"));
    let handed = company.patch_if(&path, "\"1\"", json!({ "agent_id": noor["id"] })).await;
    assert_eq!((handed.status, handed.header("etag"), &handed.json()["agent_id"]), (200, "\"2\"", &noor["id"]));
    let cleared =
        json!({ "version": 2, "description": null, "deadline": null, "provider": null, "provider_account_id": null });
    let cleared = company.patch(&path, cleared).await.json();
    assert_eq!(cleared["description"], "");
    for member in ["deadline", "provider", "provider_account_id"] {
        assert_eq!(cleared[member], Value::Null, "{member}");
    }
    let stubborn = ["agent_id", "title", "priority", "status", "progress_percent", "max_retries"];
    for member in stubborn {
        let answer = company.patch(&path, json!({ "version": 3, member: null })).await;
        assert_eq!(
            (answer.verdict(), pointers(&answer)),
            (refusal(422, "validation_failed"), vec![format!("/{member}")])
        );
    }
    for (member, value) in
        [("progress_percent", json!(101)), ("progress_percent", json!(-1)), ("max_retries", json!(101))]
    {
        let answer = company.patch(&path, json!({ "version": 3, member: value })).await;
        assert_eq!(
            (answer.verdict(), pointers(&answer)),
            (refusal(422, "validation_failed"), vec![format!("/{member}")])
        );
    }
    for (member, value) in [
        ("progress_percent", json!(70_000)),
        ("created_by_id", mira["id"].clone()),
        ("retry_count", json!(0)),
        ("result", json!(null)),
    ] {
        let answer = company
            .patch(&path, json!({ "version": if member == "result" { json!("3") } else { json!(3) }, member: value }))
            .await;
        assert_eq!(answer.verdict(), refusal(422, "invalid_body"), "{member}");
    }
    let unknown = company.patch(&path, json!({ "version": 3, "provider_account_id": Uuid::new_v4() })).await;
    assert_eq!(unknown.verdict(), refusal(422, "unknown_provider_account"));
    assert_eq!(company.get(&path).await.json(), cleared);
}

#[tokio::test]
async fn of_two_changes_of_one_version_one_is_made() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let path = at("tasks", &company.task(&agent, "one").await);
    let change = |status: &'static str| company.patch(&path, json!({ "version": 1, "status": status }));
    let answers = futures_util::future::join_all(["in_progress", "cancelled", "blocked"].map(change)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.verdict() == refusal(409, "version_conflict")).count(), 2);
}

#[tokio::test]
async fn a_deleted_task_is_gone_but_listed_for_whoever_asks() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let (one, two) = (company.task(&agent, "one").await, company.task(&agent, "two").await);
    let path = at("tasks", &one);
    let stale = company.delete(&format!("{path}?version=2")).await;
    assert_eq!((stale.verdict(), &stale.json()["current"]), (refusal(409, "version_conflict"), &one));
    assert_eq!(company.delete_if(&path, "\"1\"").await.status, 204);
    for answer in [company.get(&path).await, company.delete(&path).await, company.delete_if(&path, "\"2\"").await] {
        assert_eq!(answer.verdict(), refusal(404, "task_not_found"));
    }
    let changed = company.patch(&path, json!({ "version": 2, "title": "x" })).await;
    assert_eq!(changed.verdict(), refusal(404, "task_not_found"));
    assert_eq!(company.walk(LIST, 50).await, [two]);
    let all = company.walk(&format!("{LIST}?include_deleted=true"), 1).await;
    assert_eq!(column(&all, "title"), ["two", "one"]);
    assert!(all[1]["deleted_at"].is_string());
}

#[tokio::test]
async fn lists_are_paged_filtered_and_newest_first() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let titles = ["a", "b", "c", "d", "e", "f"];
    for (i, title) in titles.iter().enumerate() {
        let (agent, by) = if i % 2 == 0 { (&mira, &noor) } else { (&noor, &mira) };
        let body = json!({
            "agent_id": agent["id"], "created_by_id": by["id"], "title": title, "priority": if i < 3 { "low" } else { "high" },
            "deadline": format!("203{i}-01-01T00:00:00Z"),
        });
        let task = company.make(LIST, body).await;
        if i < 2 {
            company.step(&task, "cancelled").await;
        }
    }
    let newest_first: Vec<String> = titles.iter().rev().map(|title| (*title).to_owned()).collect();
    for limit in [1, 2, 5, 6, 7] {
        assert_eq!(column(&company.walk(LIST, limit).await, "title"), newest_first, "limit {limit}");
    }
    let (mira, noor) = (mira["id"].as_str().unwrap(), noor["id"].as_str().unwrap());
    let filtered = [
        ("status=cancelled".to_owned(), vec!["b", "a"]),
        ("priority=high".to_owned(), vec!["f", "e", "d"]),
        (format!("agent_id={mira}"), vec!["e", "c", "a"]),
        (format!("created_by_id={mira}"), vec!["f", "d", "b"]),
        (format!("agent_id={mira}&created_by_id={noor}&status=pending"), vec!["e", "c"]),
        (format!("agent_id={mira}&created_by_id={mira}"), vec![]),
        (format!("agent_id={}", Uuid::new_v4()), vec![]),
        ("deadline_before=2032-01-01T00:00:00Z".to_owned(), vec!["b", "a"]),
        ("deadline_before=2032-01-01T00:00:00.000001Z&priority=low".to_owned(), vec!["c", "b", "a"]),
    ];
    for (query, expected) in filtered {
        assert_eq!(column(&company.walk(&format!("{LIST}?{query}"), 2).await, "title"), expected, "{query}");
    }
    for query in [
        "agent_id=x",
        "priority=asap",
        "status=done",
        "deadline_before=soon",
        "deadline_before=2030-01-01T00:00:00+02:00",
        "deadline_before=1960-01-01T00:00:00Z",
        "include_deleted=1",
        "limit=0",
        "title=a",
    ] {
        assert_eq!(company.get(&format!("{LIST}?{query}")).await.verdict(), refusal(400, "invalid_query"), "{query}");
    }
    let of_agents = company.get("/v1/agents?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(company.get(&format!("{LIST}?cursor={of_agents}")).await.verdict(), refusal(400, "invalid_cursor"));
}
