use std::collections::HashSet;

use isolation::server::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/agents";

#[tokio::test]
async fn a_new_agent_has_an_address_a_version_and_defaults() {
    let company = Company::open().await;
    let made = company.post(LIST, json!({ "name": "Mira", "role": "support" })).await;
    let agent = made.json();
    assert_eq!(
        (made.status, made.header("etag"), made.header("location")),
        (201, "\"1\"", at("agents", &agent).as_str())
    );
    let expected = json!({
        "id": agent["id"], "name": "Mira", "role": "support", "personality_prompt": "", "status": "idle",
        "current_task_id": null, "capabilities": [], "tool_permissions": {}, "version": 1,
        "created_at": agent["created_at"], "updated_at": agent["created_at"], "deleted_at": null,
    });
    assert_eq!(agent, expected);
    let read = company.get(made.header("location")).await;
    assert_eq!((read.status, read.header("etag"), read.json()), (200, "\"1\"", agent.clone()));
    let target = format!("agent/{}", agent["id"].as_str().unwrap());
    let events = company.events(&target).await;
    assert_eq!(events, [("agent.create".to_owned(), json!({ "name": "Mira", "role": "support" }))]);
}

#[tokio::test]
async fn whatever_people_write_comes_back_as_it_was() {
    let company = Company::open().await;
    let texts = [
        "Ünïcödé 🦀 日本語",
        "e\u{301}",
        "'; DROP TABLE agents; --",
        "\" \\ ' % _ $1 {{x}}",
        "\u{feff}bom",
        "null",
        "مرحبا",
    ];
    for text in texts {
        let body = json!({
            "name": text, "role": text, "personality_prompt": format!("{text}\n\t{text}"), "status": "offline",
            "capabilities": [text, "b"], "tool_permissions": { text: { "deep": [text, 1.5, null, true] } },
        });
        let agent = company.make(LIST, body.clone()).await;
        for (member, value) in body.as_object().unwrap() {
            assert_eq!(agent[member], *value, "{member}");
        }
        assert_eq!(company.get(&at("agents", &agent)).await.json(), agent);
    }
    let longest = json!({
        "name": "ä".repeat(200), "role": "🦀".repeat(100), "personality_prompt": "x".repeat(32 * 1024),
        "capabilities": vec!["c".repeat(100); 100],
    });
    company.make(LIST, longest).await;
}

#[tokio::test]
async fn members_that_break_their_rules_are_pointed_to() {
    let company = Company::open().await;
    let broken = [
        (json!({ "name": "" }), vec!["/name"]),
        (json!({ "name": "x".repeat(201) }), vec!["/name"]),
        (json!({ "name": " a" }), vec!["/name"]),
        (json!({ "name": "a\nb" }), vec!["/name"]),
        (json!({ "name": "a\u{0}b" }), vec!["/name"]),
        (json!({ "name": "a\u{7f}" }), vec!["/name"]),
        (json!({ "role": "x".repeat(101) }), vec!["/role"]),
        (json!({ "role": "\u{0}" }), vec!["/role"]),
        (json!({ "personality_prompt": "x".repeat(32 * 1024 + 1) }), vec!["/personality_prompt"]),
        (json!({ "personality_prompt": "a\u{0}" }), vec!["/personality_prompt"]),
        (json!({ "capabilities": vec!["c"; 101] }), vec!["/capabilities"]),
        (
            json!({ "capabilities": ["a", "", "x".repeat(101), "\u{0}"] }),
            vec!["/capabilities/1", "/capabilities/2", "/capabilities/3"],
        ),
        (json!({ "tool_permissions": { "a": "\u{0}" } }), vec!["/tool_permissions"]),
        (json!({ "tool_permissions": { "\u{0}": 1 } }), vec!["/tool_permissions"]),
        (json!({ "tool_permissions": { "a": "x".repeat(70_000) } }), vec!["/tool_permissions"]),
        (
            json!({ "name": "", "role": "", "personality_prompt": "\u{0}" }),
            vec!["/name", "/role", "/personality_prompt"],
        ),
    ];
    let agent = company.agent("Mira").await;
    for (change, expected) in broken {
        let mut body = json!({ "name": "Noor", "role": "support" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let created = company.post(LIST, body).await;
        assert_eq!(
            (created.verdict(), pointers(&created)),
            (refusal(422, "validation_failed"), expected.iter().map(|p| (*p).to_owned()).collect()),
            "{change}"
        );
        let changed = company.patch_if(&at("agents", &agent), "\"1\"", change.clone()).await;
        assert_eq!((changed.verdict(), pointers(&changed)), (created.verdict(), pointers(&created)), "{change}");
    }
    assert_eq!(company.walk(LIST, 50).await, [agent], "nothing was made or changed");
}

#[tokio::test]
async fn bodies_of_another_shape_are_refused() {
    let company = Company::open().await;
    let shapes = [
        (r#"{"name":"a"}"#, 422, ""),
        (r#"{"name":7,"role":"b"}"#, 422, "/name"),
        (r#"{"name":null,"role":"b"}"#, 422, "/name"),
        (r#"{"name":"a","role":"b","status":"busy"}"#, 422, "/status"),
        (r#"{"name":"a","role":"b","tenant_id":"x"}"#, 422, "/tenant_id"),
        (r#"{"name":"a","role":"b","id":"00000000-0000-0000-0000-000000000000"}"#, 422, "/id"),
        (r#"{"name":"a","role":"b","capabilities":"all"}"#, 422, "/capabilities"),
        (r#"{"name":"a","role":"b","capabilities":[1]}"#, 422, "/capabilities/0"),
        (r#"{"name":"a","role":"b","tool_permissions":[]}"#, 422, "/tool_permissions"),
        (r#"{"name":"a","name":"b","role":"c"}"#, 422, ""),
        (r#""text""#, 422, ""),
        ("null", 422, ""),
        ("", 400, ""),
        ("{", 400, ""),
        (r#"{"name":"a","role":"b"}x"#, 400, ""),
        (r#"{"name":"\ud800","role":"b"}"#, 400, ""),
    ];
    for (body, status, pointer) in shapes {
        let answer = company.post_text(LIST, body).await;
        let code = if status == 422 { "invalid_body" } else { "invalid_json" };
        assert_eq!(answer.verdict(), refusal(status, code), "{body}");
        if status == 422 {
            assert_eq!(pointers(&answer), [pointer], "{body}: {}", answer.text);
        }
    }
    let plain = company.server.by(&company.tenant, Method::POST, LIST).body("{}");
    assert_eq!(Answer::to(plain).await.verdict(), refusal(415, "unsupported_media_type"));
    let large = company.post(LIST, json!({ "name": "x".repeat(2 << 20), "role": "b" })).await;
    assert_eq!(large.verdict(), refusal(413, "body_too_large"));
    assert!(company.walk(LIST, 50).await.is_empty());
}

#[tokio::test]
async fn a_live_agents_name_is_its_own() {
    let company = Company::open().await;
    let mira = company.agent("Mira").await;
    let noor = company.agent("Noor").await;
    company.agent("mira").await;
    let taken = company.post(LIST, json!({ "name": "Mira", "role": "x" })).await;
    assert_eq!((taken.verdict(), pointers(&taken)), (refusal(409, "agent_name_taken"), vec!["/name".to_owned()]));
    let renamed = company.patch(&at("agents", &noor), json!({ "version": 1, "name": "Mira" })).await;
    assert_eq!(renamed.verdict(), refusal(409, "agent_name_taken"));
    let same = company.patch(&at("agents", &mira), json!({ "version": 1, "name": "Mira" })).await;
    assert_eq!(same.status, 200, "its own name is not taken from it");
    assert_eq!(company.delete(&at("agents", &mira)).await.status, 204);
    let renamed = company.patch(&at("agents", &noor), json!({ "version": 1, "name": "Mira" })).await;
    assert_eq!(renamed.json()["name"], "Mira", "a deleted agent gives its name back");
}

#[tokio::test]
async fn a_change_names_the_version_it_is_based_on() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let path = at("agents", &agent);
    let by_body = company.patch(&path, json!({ "version": 1, "role": "sales" })).await;
    assert_eq!((by_body.status, by_body.header("etag")), (200, "\"2\""));
    assert_eq!((&by_body.json()["version"], &by_body.json()["role"]), (&json!(2), &json!("sales")));
    assert_ne!(by_body.json()["updated_at"], agent["updated_at"]);
    let by_tag = company.patch_if(&path, by_body.header("etag"), json!({ "status": "working" })).await;
    assert_eq!((by_tag.status, by_tag.header("etag")), (200, "\"3\""));
    let by_both = company.patch_if(&path, "\"3\"", json!({ "version": 3, "status": "blocked" })).await;
    assert_eq!(by_both.status, 200);
    let merge =
        company.server.by(&company.tenant, Method::PATCH, &path).header("content-type", "application/merge-patch+json");
    assert_eq!(Answer::to(merge.body(r#"{"version":4}"#)).await.json()["version"], 5, "merge patches may say so");

    let current = company.get(&path).await.json();
    for old in [1, 4, 6, -1, 0, i64::MAX, i64::MIN] {
        let stale = company.patch(&path, json!({ "version": old, "role": "lost" })).await;
        assert_eq!((stale.verdict(), &stale.json()["current"]), (refusal(409, "version_conflict"), &current), "{old}");
    }
    assert_eq!(company.patch(&path, json!({ "role": "x" })).await.verdict(), refusal(428, "version_required"));
    for tag in ["*", "5", "W/\"5\"", "\"x\"", "\"5\", \"6\"", "\"99999999999999999999\""] {
        let answer = company.patch_if(&path, tag, json!({ "role": "x" })).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_precondition"), "{tag}");
    }
    let contradicting = company.patch_if(&path, "\"5\"", json!({ "version": 4 })).await;
    assert_eq!(contradicting.verdict(), refusal(400, "invalid_precondition"));
    for version in [json!(1.5), json!("5"), json!(u64::MAX), json!(true)] {
        let answer = company.patch(&path, json!({ "version": version })).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, "invalid_body"), vec!["/version".to_owned()]));
    }
    assert_eq!(company.get(&path).await.json(), current, "nothing refused has left a trace");
    let target = format!("agent/{}", agent["id"].as_str().unwrap());
    let changes: Vec<Value> = company.events(&target).await.into_iter().skip(1).map(|(_, details)| details).collect();
    assert_eq!(
        changes[..2],
        [json!({ "version": 2, "changed": ["role"] }), json!({ "version": 3, "changed": ["status"] })]
    );
    assert_eq!(changes.len(), 4, "one event for each change that was made");
}

#[tokio::test]
async fn of_two_changes_of_one_version_one_is_made() {
    let company = Company::open().await;
    let path = at("agents", &company.agent("Mira").await);
    let change = |role: String| company.patch(&path, json!({ "version": 1, "role": role }));
    let answers = futures_util::future::join_all((0..8).map(|i| change(format!("role {i}")))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(
        answers.iter().filter(|answer| answer.status != 200).all(|a| a.verdict() == refusal(409, "version_conflict"))
    );
    assert_eq!(company.get(&path).await.json(), won[0].json());
}

#[tokio::test]
async fn null_clears_what_can_be_empty_and_nothing_else() {
    let company = Company::open().await;
    let full = json!({
        "name": "Mira", "role": "support", "personality_prompt": "brief", "capabilities": ["mail"],
        "tool_permissions": { "mail": "read" },
    });
    let agent = company.make(LIST, full).await;
    let task = company.task(&agent, "one").await;
    let path = at("agents", &agent);
    let put = company.patch(&path, json!({ "version": 1, "current_task_id": task["id"] })).await;
    assert_eq!(put.json()["current_task_id"], task["id"]);
    let kept = company.patch(&path, json!({ "version": 2, "role": "sales" })).await.json();
    for member in ["personality_prompt", "capabilities", "tool_permissions"] {
        assert_eq!(kept[member], agent[member], "absent members stay");
    }
    assert_eq!(kept["current_task_id"], task["id"]);
    let cleared = json!({
        "version": 3, "personality_prompt": null, "current_task_id": null, "capabilities": null, "tool_permissions": null,
    });
    let cleared = company.patch(&path, cleared).await.json();
    assert_eq!((&cleared["personality_prompt"], &cleared["current_task_id"]), (&json!(""), &Value::Null));
    assert_eq!((&cleared["capabilities"], &cleared["tool_permissions"]), (&json!([]), &json!({})));
    let refused = company.patch(&path, json!({ "version": 4, "name": null, "role": null, "status": null })).await;
    assert_eq!((refused.status, pointers(&refused)), (422, ["/name", "/role", "/status"].map(str::to_owned).to_vec()));
    for member in ["id", "created_at", "updated_at", "deleted_at", "tenant_id"] {
        let refused = company.patch(&path, json!({ "version": 4, member: null })).await;
        assert_eq!((refused.verdict(), pointers(&refused)), (refusal(422, "invalid_body"), vec![format!("/{member}")]));
    }
}

#[tokio::test]
async fn an_agent_is_on_a_live_task_of_its_own_or_on_none() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let others = company.task(&noor, "hers").await;
    let deleted = company.task(&mira, "gone").await;
    assert_eq!(company.delete(&at("tasks", &deleted)).await.status, 204);
    for id in [others["id"].clone(), deleted["id"].clone(), json!(Uuid::new_v4()), json!(Uuid::nil())] {
        let answer = company.patch(&at("agents", &mira), json!({ "version": 1, "current_task_id": id })).await;
        assert_eq!(
            (answer.verdict(), pointers(&answer)),
            (refusal(422, "unknown_task"), vec!["/current_task_id".to_owned()])
        );
    }
    assert_eq!(company.get(&at("agents", &mira)).await.json(), mira);
}

#[tokio::test]
async fn a_deleted_agent_is_gone_but_listed_for_whoever_asks() {
    let company = Company::open().await;
    let (mira, noor) = (company.agent("Mira").await, company.agent("Noor").await);
    let path = at("agents", &mira);
    let stale = company.delete(&format!("{path}?version=7")).await;
    assert_eq!((stale.verdict(), &stale.json()["current"]), (refusal(409, "version_conflict"), &mira));
    assert_eq!(company.delete_if(&path, "\"7\"").await.verdict(), refusal(409, "version_conflict"));
    assert_eq!(company.delete_if(&path, "x").await.verdict(), refusal(400, "invalid_precondition"));
    assert_eq!(company.delete(&format!("{path}?force=true")).await.verdict(), refusal(400, "invalid_query"));
    let gone = company.delete_if(&path, "\"1\"").await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert_eq!(company.get(&path).await.verdict(), refusal(404, "agent_not_found"));
    assert_eq!(company.delete(&path).await.verdict(), refusal(404, "agent_not_found"));
    assert_eq!(company.delete(&format!("{path}?version=2")).await.verdict(), refusal(404, "agent_not_found"));
    let changed = company.patch(&path, json!({ "version": 2, "role": "x" })).await;
    assert_eq!(changed.verdict(), refusal(404, "agent_not_found"));
    assert_eq!(column(&company.walk(LIST, 50).await, "name"), ["Noor"]);
    let all = company.walk(&format!("{LIST}?include_deleted=true"), 50).await;
    assert_eq!(column(&all, "name"), ["Noor", "Mira"]);
    assert!(all[1]["deleted_at"].is_string() && all[1]["version"] == 2);
    assert_eq!(company.delete(&format!("{}?version=1", at("agents", &noor))).await.status, 204);
    let unknown = company.get(&format!("{LIST}/{}", Uuid::new_v4())).await;
    assert_eq!(unknown.verdict(), refusal(404, "agent_not_found"));
    assert_eq!(company.get(&format!("{LIST}/17")).await.verdict(), refusal(400, "invalid_path"));
    let target = format!("agent/{}", mira["id"].as_str().unwrap());
    assert_eq!(company.events(&target).await.last().unwrap(), &("agent.delete".to_owned(), json!({ "version": 2 })));
}

#[tokio::test]
async fn lists_are_paged_filtered_and_newest_first() {
    let company = Company::open().await;
    let names = ["Anna", "anton", "Berta", "Ca%sar", "C_dora", "Emil", "Änne"];
    for (i, name) in names.iter().enumerate() {
        let (role, status) = (["support", "sales"][i % 2], ["idle", "working", "offline"][i % 3]);
        company.make(LIST, json!({ "name": name, "role": role, "status": status })).await;
    }
    let newest_first: Vec<String> = names.iter().rev().map(|name| (*name).to_owned()).collect();
    for limit in [1, 2, 3, 7, 8, 200] {
        assert_eq!(column(&company.walk(LIST, limit).await, "name"), newest_first, "limit {limit}");
    }
    let filtered = [
        ("status=working", vec!["C_dora", "anton"]),
        ("role=sales", vec!["Emil", "Ca%sar", "anton"]),
        ("role=Sales", vec![]),
        ("name=an", vec!["anton", "Anna"]),
        ("name=AN", vec!["anton", "Anna"]),
        ("name=%25", vec![]),
        ("name=Ca%25", vec!["Ca%sar"]),
        ("name=C_", vec!["C_dora"]),
        ("name=%C3%A4", vec!["Änne"]),
        ("name=an&role=sales&status=working", vec!["anton"]),
        ("name='", vec![]),
    ];
    for (query, expected) in filtered {
        assert_eq!(column(&company.walk(&format!("{LIST}?{query}"), 2).await, "name"), expected, "{query}");
    }
    // a page that was begun is not disturbed by what comes or goes meanwhile
    let first = company.get(&format!("{LIST}?limit=3")).await.json();
    company.agent("Zoe").await;
    company.delete(&at("agents", &first["data"][2])).await;
    let rest = company.walk(&format!("{LIST}?cursor={}", first["next_cursor"].as_str().unwrap()), 50).await;
    assert_eq!(column(&rest, "name"), newest_first[3..]);
    let ids: HashSet<String> = column(&rest, "id").into_iter().collect();
    assert_eq!(ids.len(), rest.len());
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    company.task(&agent, "one").await;
    company.task(&agent, "two").await;
    let of_tasks = company.get("/v1/tasks?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    let long = "x".repeat(201);
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-5", "limit"),
        ("limit=ten", "limit"),
        ("limit=9223372036854775808", "limit"),
        ("status=busy", "status"),
        ("include_deleted=yes", "include_deleted"),
        ("name=%00", "name"),
        ("role=a%00", "role"),
        (&format!("name={long}"), "name"),
        (&format!("role={long}"), "role"),
        ("tenant=globex", "tenant"),
        ("offset=1", "offset"),
    ] {
        let answer = company.get(&format!("{LIST}?{query}")).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_query"), "{query}");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{query}: {}", answer.text);
    }
    for cursor in ["", "x", "%00", "AAAA", &of_tasks, &of_tasks[1..], &"A".repeat(34)] {
        let answer = company.get(&format!("{LIST}?cursor={cursor}")).await;
        assert_eq!(answer.verdict(), refusal(400, "invalid_cursor"), "{cursor}");
    }
}
