use std::time::Duration;

use isolation::backends::eventually;
use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/schedules";

/// A body with some members changed.
fn new(agent: &Value, members: Value) -> Value {
    let mut new = json!({
        "agent_id": agent["id"], "name": "Report", "cron_expression": "0 9 * * MON-FRI", "time_zone": "Europe/Berlin",
        "task_template": { "title": "Summarise" },
    });
    for (name, value) in members.as_object().unwrap() {
        new[name] = value.clone();
    }
    new
}

#[tokio::test]
async fn a_new_schedule_has_an_address_a_version_and_its_next_runs() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let made = company.post(LIST, new(&agent, json!({}))).await;
    let schedule = made.json();
    assert_eq!(
        (made.status, made.header("etag"), made.header("location")),
        (201, "\"1\"", at("schedules", &schedule).as_str())
    );
    let expected = json!({
        "id": schedule["id"], "agent_id": agent["id"], "name": "Report", "cron_expression": "0 9 * * MON-FRI",
        "time_zone": "Europe/Berlin", "task_template": { "title": "Summarise" }, "enabled": true,
        "next_runs": schedule["next_runs"], "last_run_at": null, "next_run_at": schedule["next_run_at"],
        "last_task_id": null, "failure_count": 0, "last_error": null, "version": 1, "created_at": schedule["created_at"],
        "updated_at": schedule["updated_at"], "deleted_at": null,
    });
    assert_eq!(schedule, expected);
    let runs = schedule["next_runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["utc"]), (5, &schedule["next_run_at"]));
    for run in runs {
        let local = run["local"].as_str().unwrap();
        assert!(local.contains("T09:00:00+0"), "{local}");
        let instant = |text: &Value| chrono::DateTime::parse_from_rfc3339(text.as_str().unwrap()).unwrap().to_utc();
        assert_eq!(instant(&run["utc"]), instant(&run["local"]));
    }
    let read = company.get(made.header("location")).await;
    assert_eq!((read.status, read.header("etag"), read.json()), (200, "\"1\"", schedule.clone()));
    let known =
        company.server.by(&company.tenant, Method::GET, made.header("location")).header("if-none-match", "\"1\"");
    assert_eq!(Answer::to(known).await.status, 304);
    let events = company.events(&format!("schedule/{}", schedule["id"].as_str().unwrap())).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].0.as_str(), &events[0].1["cron_expression"]), ("schedule.create", &json!("0 9 * * MON-FRI")));
}

#[tokio::test]
async fn members_that_break_their_rules_are_pointed_to() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let nobody = Uuid::nil();
    for (members, code, pointer) in [
        (json!({ "name": "" }), "validation_failed", "/name"),
        (json!({ "cron_expression": "0 * * * * *" }), "validation_failed", "/cron_expression"),
        (json!({ "cron_expression": "@reboot" }), "validation_failed", "/cron_expression"),
        (json!({ "cron_expression": "0 0 30 2 *" }), "validation_failed", "/cron_expression"),
        (json!({ "cron_expression": "a\u{0}" }), "validation_failed", "/cron_expression"),
        (json!({ "time_zone": "Mars/Olympus" }), "validation_failed", "/time_zone"),
        (json!({ "agent_id": nobody }), "unknown_agent", "/agent_id"),
        (json!({ "task_template": { "title": "" } }), "validation_failed", "/task_template/title"),
        (json!({ "task_template": { "title": "t", "priority": "huge" } }), "invalid_body", "/task_template/priority"),
        (json!({ "task_template": { "title": "t", "status": "failed" } }), "invalid_body", "/task_template/status"),
        (
            json!({ "task_template": { "title": "t", "created_by_id": nobody } }),
            "unknown_agent",
            "/task_template/created_by_id",
        ),
        (
            json!({ "task_template": { "title": "t", "provider_account_id": nobody } }),
            "unknown_provider_account",
            "/task_template/provider_account_id",
        ),
    ] {
        let answer = company.post(LIST, new(&agent, members.clone())).await;
        assert_eq!(answer.verdict(), refusal(422, code), "{members}: {}", answer.text);
        assert_eq!(pointers(&answer), [pointer], "{members}");
    }
    assert_eq!(company.walk(LIST, 10).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_expression_is_tried_out_before_there_is_a_schedule() {
    let company = Company::open().await;
    let preview = async |query: &str| company.get(&format!("{LIST}/preview?{query}")).await;
    let shown = preview("cron_expression=*/30+*+*+*+*&time_zone=Asia/Kolkata&count=3").await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let shown = shown.json();
    assert_eq!((&shown["cron_expression"], &shown["time_zone"]), (&json!("*/30 * * * *"), &json!("Asia/Kolkata")));
    assert_eq!(shown["next_runs"].as_array().unwrap().len(), 3);
    assert_eq!(preview("cron_expression=@daily").await.json()["next_runs"].as_array().unwrap().len(), 5);
    for (query, parameter) in [
        ("cron_expression=x", "cron_expression"),
        ("cron_expression=@daily&time_zone=x", "time_zone"),
        ("cron_expression=@daily&count=0", "count"),
        ("cron_expression=@daily&count=101", "count"),
    ] {
        let answer = preview(query).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_query"), "{query}");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{query}");
    }
    assert_eq!(preview("time_zone=UTC").await.status, 400);
}

#[tokio::test]
async fn an_installation_may_ask_for_a_longer_interval() {
    let server = TestServer::with(|settings| settings.scheduler.min_interval = Duration::from_secs(900)).await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let agent = company.agent("Mira").await;
    let often = company.post(LIST, new(&agent, json!({ "cron_expression": "0,10 * * * *" }))).await;
    assert_eq!(
        (often.verdict(), pointers(&often)),
        (refusal(422, "validation_failed"), vec!["/cron_expression".to_owned()])
    );
    let preview = company.get(&format!("{LIST}/preview?cron_expression=*+*+*+*+*")).await;
    assert_eq!(preview.verdict(), refusal(400, "invalid_query"));
    let fine = company.make(LIST, new(&agent, json!({ "cron_expression": "*/15 * * * *" }))).await;
    let change = json!({ "version": 1, "cron_expression": "* * * * *" });
    assert_eq!(company.patch(&at("schedules", &fine), change).await.verdict(), refusal(422, "validation_failed"));
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let company = Company::open().await;
    let (mira, ole) = (company.agent("Mira").await, company.agent("Ole").await);
    for (agent, name, enabled) in [(&mira, "a", true), (&mira, "b", false), (&ole, "c", true)] {
        company.make(LIST, new(agent, json!({ "name": name, "enabled": enabled }))).await;
    }
    let names = async |query: &str| column(&company.walk(&format!("{LIST}{query}"), 2).await, "name").concat();
    assert_eq!(names("").await, "cba");
    assert_eq!(names("?enabled=true").await, "ca");
    assert_eq!(names("?enabled=false").await, "b");
    assert_eq!(names(&format!("?agent_id={}", mira["id"].as_str().unwrap())).await, "ba");
    assert_eq!(names("?sort=name").await, "abc");
    assert_eq!(names("?sort=created_at").await, "abc");
    assert_eq!(names("?sort=next_run_at").await, "acb", "what is not due comes last");
    let part = company.walk(&format!("{LIST}?fields=name,enabled"), 10).await.remove(1);
    assert_eq!(part, json!({ "name": "b", "enabled": false }));
    let deleted = company.walk(LIST, 10).await.remove(0);
    assert_eq!(
        company.delete_if(&at("schedules", &deleted), "\"7\"").await.verdict(),
        refusal(409, "version_conflict")
    );
    assert_eq!(company.delete_if(&at("schedules", &deleted), "\"1\"").await.status, 204);
    assert_eq!(company.delete(&at("schedules", &deleted)).await.verdict(), refusal(404, "schedule_not_found"));
    assert_eq!(names("").await, "ba");
    assert_eq!(names("?include_deleted=true").await, "cba");
    assert_eq!(company.get(&format!("{}?include_deleted=true", at("schedules", &deleted))).await.status, 200);
    let foreign = company.walk("/v1/agents", 1).await.len();
    assert_eq!(foreign, 2);
    let cursor = company.get("/v1/agents?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(company.get(&format!("{LIST}?cursor={cursor}")).await.verdict(), refusal(400, "invalid_cursor"));
}

#[tokio::test]
async fn changes_are_by_version() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let made = company.make(LIST, new(&agent, json!({}))).await;
    let path = at("schedules", &made);
    let changed = company.patch_if(&path, "\"1\"", json!({ "cron_expression": "@hourly", "time_zone": "UTC" })).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"2\""), "{}", changed.text);
    assert_ne!(changed.json()["next_run_at"], made["next_run_at"]);
    let stale = company.patch_if(&path, "\"1\"", json!({ "name": "x" })).await;
    assert_eq!(stale.verdict(), refusal(409, "version_conflict"));
    assert_eq!(stale.json()["current"], changed.json());
    assert_eq!(company.patch(&path, json!({ "name": "x" })).await.verdict(), refusal(428, "version_required"));
    let nulls = json!({
        "version": 2, "agent_id": null, "name": null, "cron_expression": null, "time_zone": null, "task_template": null,
        "enabled": null,
    });
    let answer = company.patch(&path, nulls).await;
    assert_eq!(
        pointers(&answer),
        ["/agent_id", "/name", "/cron_expression", "/time_zone", "/task_template", "/enabled"]
    );
    let off = company.patch(&path, json!({ "version": 2, "enabled": false })).await.json();
    assert_eq!((&off["next_run_at"], &off["next_runs"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn a_run_by_hand_is_done_once_under_its_key() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let schedule = company.make(LIST, new(&agent, json!({ "enabled": false }))).await;
    let path = format!("{}/run", at("schedules", &schedule));
    let run = async || {
        let request = company.server.by(&company.tenant, Method::POST, &path).header("idempotency-key", "today");
        Answer::to(request).await
    };
    let (first, again) = (run().await, run().await);
    assert_eq!((first.status, again.status), (201, 201), "{}", first.text);
    assert_eq!((first.text.as_str(), first.header("location")), (again.text.as_str(), again.header("location")));
    let task = first.json();
    assert_eq!((&task["title"], &task["agent_id"]), (&json!("Summarise"), &agent["id"]));
    assert_eq!(first.header("location"), at("tasks", &task));
    assert_eq!(company.walk("/v1/tasks", 10).await, std::slice::from_ref(&task));
    let after = company.get(&at("schedules", &schedule)).await.json();
    assert_eq!((&after["last_task_id"], &after["version"]), (&task["id"], &json!(2)));
    let nowhere = company.post(&format!("{LIST}/{}/run", Uuid::nil()), json!({})).await;
    assert_eq!(nowhere.verdict(), refusal(404, "schedule_not_found"));
    assert_eq!(company.delete(&at("agents", &agent)).await.status, 204);
    let request = company.server.by(&company.tenant, Method::POST, &path);
    assert_eq!(Answer::to(request).await.verdict(), refusal(422, "unknown_agent"));
}

/// Makes every schedule of a company due, as if an hour had passed.
async fn make_due(company: &Company) {
    let admin = company.server.database.admin().await;
    let due = format!("UPDATE {}.schedules SET next_run_at = now() - interval '1 second'", company.tenant.schema);
    admin.execute(&due, &[]).await.unwrap();
    admin.execute("UPDATE tenantry.alarms SET due_at = now() - interval '1 second'", &[]).await.unwrap();
}

#[tokio::test]
async fn servers_run_what_is_due_once_and_end_in_good_order() {
    const SCHEDULES: usize = 25;
    let quick = |settings: &mut tenantry::Settings| settings.scheduler.interval = Duration::from_millis(20);
    let server = TestServer::with(quick).await;
    let second = TestServer::on(server.database.clone(), quick).await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let agent = company.agent("Mira").await;
    for n in 0..SCHEDULES {
        let members = json!({ "cron_expression": "0 0 1 1 *", "task_template": { "title": format!("t{n}") } });
        company.make(LIST, new(&agent, members)).await;
    }
    for round in 1..=3 {
        make_due(&company).await;
        eventually("all schedules run", async || {
            let schedules = company.get(&format!("{LIST}?limit=200")).await.json();
            let all = schedules["data"].as_array().unwrap();
            all.iter().all(|schedule| schedule["version"] == json!(round + 1))
        })
        .await;
    }
    let tasks = column(&company.walk("/v1/tasks", 200).await, "title");
    assert_eq!(tasks.len(), 3 * SCHEDULES, "once for each time");
    for n in 0..SCHEDULES {
        assert_eq!(tasks.iter().filter(|title| **title == format!("t{n}")).count(), 3);
    }
    assert_eq!(second.stop().await.cut, 0);
    assert_eq!(company.server.stop().await.cut, 0);
}

#[tokio::test]
async fn a_server_that_is_told_not_to_runs_none() {
    let server = TestServer::with(|settings| {
        settings.scheduler.enabled = false;
        settings.scheduler.interval = Duration::from_millis(5);
    })
    .await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let agent = company.agent("Mira").await;
    company.make(LIST, new(&agent, json!({}))).await;
    make_due(&company).await;
    let database = company.server.database.clone();
    // The control: one that is told to, on the same database.
    let other = TestServer::on(database, |settings| settings.scheduler.interval = Duration::from_millis(5)).await;
    eventually("the other server runs it", async || company.walk("/v1/tasks", 10).await.len() == 1).await;
    other.stop().await;
    let version = company.walk(LIST, 10).await[0]["version"].clone();
    make_due(&company).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(company.walk(LIST, 10).await[0]["version"], version);
    }
}
