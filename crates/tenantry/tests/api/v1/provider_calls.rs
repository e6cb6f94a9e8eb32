use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use isolation::backends::eventually;
use isolation::proxy::{Proxy, Traffic};
use isolation::server::{Answer, Tenant, TestServer};
use isolation::through::parts;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::{Company, at, column, pointers, refusal};

const LIST: &str = "/v1/provider-calls";
const BATCH: &str = "/v1/provider-calls/batch";

/// A call that nobody has a price for, but the provider.
fn call() -> Value {
    json!({
        "timestamp": ago(60), "provider": "homemade", "operation": "chat.completions", "model": "m-1", "latency_ms": 120,
        "usage": { "input": 100, "cache_read": 20, "output": 7, "units": { "web_search": 1 } },
    })
}

fn with(change: Value) -> Value {
    let mut body = call();
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body
}

fn ago(seconds: i64) -> String {
    (Utc::now() - TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A day that there is a partition for, whenever the test runs.
fn day(back: i64) -> String {
    (Utc::now() - TimeDelta::days(back)).date_naive().to_string()
}

/// Puts a row into the table, as shipping does. Members of `row` are columns.
async fn shipped(company: &Company, row: Value) -> String {
    let mut whole = json!({
        "id": Uuid::now_v7(), "provider": "openai", "operation": "responses", "model": "m-1", "latency_ms": 5, "timestamp": ago(60),
    });
    whole.as_object_mut().unwrap().extend(row.as_object().unwrap().clone());
    let admin = company.server.database.admin().await;
    let names: Vec<String> = whole.as_object().unwrap().keys().map(|name| format!("\"{name}\"")).collect();
    let (names, id) = (names.join(", "), whole["id"].as_str().unwrap().to_owned());
    let sql = format!(
        "INSERT INTO analytics.provider_api_calls (tenant_id, {names}) \
         SELECT (SELECT id FROM public.tenants WHERE slug = 'acme'), {names} \
         FROM jsonb_populate_record(NULL::analytics.provider_api_calls, $1)"
    );
    admin.execute(&sql, &[&whole]).await.unwrap();
    id
}

#[tokio::test]
async fn a_call_is_recorded_as_it_was_counted() {
    let company = Company::open().await;
    let made = company.post(LIST, with(json!({ "cost_usd": "0.0012340", "service_tier": "flex" }))).await;
    let recorded = made.json();
    let id = recorded["id"].as_str().unwrap();
    assert_eq!((made.status, made.header("location")), (202, format!("{LIST}/{id}").as_str()), "{}", made.text);
    assert_eq!((&recorded["cost_usd"], &recorded["cost_source"]), (&json!("0.001234"), &json!("provider")));
    assert_eq!((&recorded["model"], &recorded["service_tier"]), (&json!("m-1"), &json!("flex")));
    assert_eq!(recorded["usage"]["cache_read"], 20);
    assert_eq!(recorded["usage"]["units"], json!({ "web_search": 1 }));
    assert_eq!(recorded["usage_source"], "reported");

    // a provider's own counts, which overlap, and its own tier
    let raw = json!({
        "usage": null, "api": "openai_chat",
        "raw_usage": {
            "prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300, "prompt_tokens_details": { "cached_tokens": 600 },
        },
    });
    let recorded = company.post(LIST, with(raw)).await.json();
    assert_eq!((&recorded["usage"]["input"], &recorded["usage"]["cache_read"]), (&json!(400), &json!(600)));
    // nobody knows what it costs, and that is not nothing
    assert_eq!((&recorded["cost_usd"], &recorded["cost_source"]), (&Value::Null, &json!("unpriced")));
    let raw = json!({
        "usage": null, "api": "anthropic_messages",
        "raw_usage": { "input_tokens": 10, "cache_creation_input_tokens": 5, "output_tokens": 1, "service_tier": "batch" },
    });
    let recorded = company.post(LIST, with(raw)).await.json();
    assert_eq!((&recorded["usage"]["cache_write"], &recorded["service_tier"]), (&json!(5), &json!("batch")));

    // one that failed before a model ran used nothing and costs nothing
    let failed = json!({ "usage": null, "success": false, "error_message": "429", "status_code": 429 });
    let recorded = company.post(LIST, with(failed)).await.json();
    assert_eq!((&recorded["cost_usd"], &recorded["cost_source"]), (&json!("0"), &json!("free")));
    assert_eq!(recorded["usage_source"], "none");
}

#[tokio::test]
async fn broken_members_are_pointed_to() {
    let company = Company::open().await;
    for (change, code, pointer) in [
        (json!({ "provider": "Home Made" }), "validation_failed", "/provider"),
        (json!({ "usage": { "input": -1 } }), "invalid_body", "/usage/input"),
        (json!({ "raw_usage": {} }), "validation_failed", "/raw_usage"),
        (json!({ "cost_usd": 0.1 }), "invalid_body", "/cost_usd"),
        (json!({ "timestamp": ago(91 * 86400) }), "timestamp_too_old", "/timestamp"),
        (json!({ "timestamp": ago(-301) }), "timestamp_in_future", "/timestamp"),
        (json!({ "tenant_id": Uuid::nil() }), "invalid_body", "/tenant_id"),
    ] {
        let answer = company.post(LIST, with(change.clone())).await;
        assert_eq!((answer.verdict(), pointers(&answer)), (refusal(422, code), vec![pointer.to_owned()]), "{change}");
    }
    for (query, parameter) in
        [("from=9999999", "from"), ("finish=gone", "finish"), ("provider=%00", "provider"), ("cursor=x", "cursor")]
    {
        let answer = company.get(&format!("{LIST}?{query}")).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["parameter"]), (400, &json!(parameter)), "{query}");
    }
    assert_eq!(
        company.get(&format!("{LIST}/{}", Uuid::nil())).await.verdict(),
        refusal(404, "provider_call_not_found")
    );
}

async fn keyed(server: &TestServer, tenant: &Tenant, path: &str, key: &str, body: &Value) -> Answer {
    Answer::to(server.by(tenant, Method::POST, path).header("idempotency-key", key).json(body)).await
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = answer.json();
    match answer["items"].as_array() {
        Some(items) => items.iter().map(|item| item["record"]["id"].as_str().unwrap().to_owned()).collect(),
        None => vec![answer["id"].as_str().unwrap().to_owned()],
    }
}

/// The same request has the same ids and the same answer, whoever is asked; another one under its key is refused.
#[tokio::test]
async fn a_repeated_request_names_the_same_calls() {
    let company = Company::open().await;
    let other = company.server.tenant("globex").await;
    let second = TestServer::on(company.server.database.clone(), |_| {}).await;
    let (acme, body) = (&company.tenant, call());
    let post = async |path: &str, key: &str, body: &Value| keyed(&company.server, acme, path, key, body).await;
    let first = post(LIST, "k-1", &body).await;
    let again = keyed(&second, acme, LIST, "k-1", &body).await;
    assert_eq!((ids(&again), &again.text), (ids(&first), &first.text));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_ne!(ids(&post(LIST, "k-2", &body).await), ids(&first));
    let theirs = keyed(&company.server, &other, LIST, "k-1", &body).await;
    assert_ne!(ids(&theirs), ids(&first), "another's key is another key");

    let mine = Uuid::now_v7().to_string();
    let batch = json!({ "items": [body, body, with(json!({ "id": mine }))] });
    let once = post(BATCH, "k-3", &batch).await;
    let twice = post(BATCH, "k-3", &batch).await;
    assert_eq!((&twice.text, twice.header("idempotency-replayed")), (&once.text, "true"));
    let named = ids(&once);
    assert_ne!(named[0], named[1]);
    assert_eq!(named[2], mine);

    // one that differs in its cost, its time, its own id, or its place
    let mut later = body.clone();
    later["timestamp"] = json!(ago(59));
    let dearer = with(json!({ "timestamp": body["timestamp"], "cost_usd": "1" }));
    for (path, key, changed) in [
        (LIST, "k-1", &dearer),
        (LIST, "k-1", &later),
        (LIST, "k-1", &with(json!({ "id": mine }))),
        (BATCH, "k-1", &batch),
        (BATCH, "k-3", &json!({ "items": [body] })),
        (LIST, "k-3", &body),
    ] {
        assert_eq!(post(path, key, changed).await.verdict(), refusal(422, "idempotency_key_reused"), "{changed}");
    }

    // what was refused has taken no key
    let wrong = json!({ "items": [with(json!({ "latency_ms": -1 }))] });
    assert_eq!(post(BATCH, "k-4", &wrong).await.status, 207);
    assert_eq!(post(LIST, "k-4", &with(json!({ "latency_ms": -1 }))).await.status, 422);
    let right = post(LIST, "k-4", &body).await;
    assert_eq!((right.status, right.header("idempotency-replayed")), (202, ""));
}

/// The answer is stored before the call is: one that was lost in between is recorded by the repetition. And a key is free after a day.
#[tokio::test]
async fn a_repetition_makes_up_for_what_was_lost_and_a_key_ends_after_a_day() {
    let company = Company::open().await;
    let admin = company.server.database.admin().await;
    let post = async |body: &Value| keyed(&company.server, &company.tenant, LIST, "k-1", body).await;
    let body = call();
    let first = post(&body).await;
    let shown = async |id: &str| {
        let path = format!("{LIST}/{id}");
        eventually("the call is in the database", async || company.get(&path).await.status == 200).await;
    };
    let id = ids(&first).remove(0);
    shown(&id).await;
    let lose = "DELETE FROM analytics.provider_api_calls WHERE id = $1";
    assert_eq!(admin.execute(lose, &[&id.parse::<Uuid>().unwrap()]).await.unwrap(), 1);
    assert_eq!(post(&body).await.header("idempotency-replayed"), "true");
    shown(&id).await;

    let age = format!("UPDATE {}.idempotency_keys SET created_at = now() - interval '25 hours'", company.tenant.schema);
    admin.batch_execute(&age).await.unwrap();
    let again = post(&body).await;
    assert_eq!((ids(&again), again.header("idempotency-replayed")), (vec![id.clone()], ""), "the id is still the same");
    admin.batch_execute(&age).await.unwrap();
    let other = post(&with(json!({ "timestamp": body["timestamp"], "cost_usd": "1" }))).await;
    let other = ids(&other).remove(0);
    assert_ne!(other, id);
    shown(&other).await;
    assert_eq!(company.walk(LIST, 50).await.len(), 2, "the old one is counted once, and the new one is not lost");
}

/// From the answer to the list: what was recorded, once, however often it was sent.
#[tokio::test]
async fn what_was_recorded_is_listed_once() {
    let company = Company::open().await;
    let body = with(json!({ "cost_usd": "0.0012345", "task_type": "support" }));
    let send = async || {
        let request = company.server.by(&company.tenant, Method::POST, LIST).header("idempotency-key", "k-1");
        Answer::to(request.json(&body)).await
    };
    let recorded = send().await.json();
    let path = at("provider-calls", &recorded);
    let mut shown = company.get(&path).await;
    for _ in 0..1000 {
        if shown.status != 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        shown = company.get(&path).await;
    }
    let shown = shown.json();
    for member in ["id", "timestamp", "usage", "usage_source", "cost_usd", "cost_source", "model", "price_version"] {
        assert_eq!(shown[member], recorded[member], "{member}");
    }
    assert_eq!((&shown["task_type"], &shown["api_key_id"]), (&json!("support"), &json!(company.tenant.key_id)));
    assert_eq!(send().await.json(), recorded);
    // a later call is shipped behind the repetition
    let last = company.post(LIST, call()).await.json();
    for _ in 0..1000 {
        if company.get(&at("provider-calls", &last)).await.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(company.walk(LIST, 50).await.len(), 2);
}

#[tokio::test]
async fn each_item_of_a_batch_is_taken_or_refused_by_itself() {
    let company = Company::open().await;
    let items =
        [call(), with(json!({ "latency_ms": -1 })), json!(7), with(json!({ "timestamp": ago(91 * 86400) })), call()];
    let answer = company.post(BATCH, json!({ "items": items })).await;
    let result = answer.json();
    assert_eq!(
        (answer.status, &result["succeeded"], &result["failed"]),
        (207, &json!(2), &json!(3)),
        "{}",
        answer.text
    );
    let statuses: Vec<u64> =
        result["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 422, 422, 422, 202]);
    assert_eq!(result["items"][1]["problem"]["errors"][0]["pointer"], "/items/1/latency_ms");
    assert_eq!(result["items"][3]["problem"]["code"], "timestamp_too_old");
    assert!(result["items"][4]["record"]["id"].is_string());

    assert_eq!(company.post(BATCH, json!({ "items": [call()] })).await.status, 202);
    for items in [Vec::new(), vec![json!({}); 1001]] {
        let answer = company.post(BATCH, json!({ "items": items })).await;
        assert_eq!(
            (answer.verdict(), pointers(&answer)),
            (refusal(422, "validation_failed"), vec!["/items".to_owned()])
        );
    }
}

/// What a tenant reports is kept on the server's own disk, so it is taken while the database is away.
#[tokio::test]
async fn calls_are_recorded_while_the_database_is_away() {
    let founder = TestServer::start().await;
    let tenant = founder.tenant("acme").await;
    let (host, port, ..) = parts(founder.database.server());
    let proxy = Proxy::start(&host, port).await;
    let server = TestServer::on(founder.database.by_way_of(proxy.port()), |settings| {
        // how long it may believe what it knows of its tenants is another's test
        settings.registry.stale_after = Duration::from_secs(300);
    })
    .await;
    let send = async |method: Method, path: &str, body: &Value| {
        let request = server.by(&tenant, method, path).header("idempotency-key", "k-1");
        Answer::to(if body.is_null() { request } else { request.json(body) }).await
    };
    let body = call();
    let before = send(Method::POST, LIST, &body).await;
    assert_eq!(before.status, 202, "{}", before.text);
    proxy.set(Traffic::Refuse);
    assert_eq!(send(Method::GET, LIST, &Value::Null).await.status, 503, "the database is away");
    let during = send(Method::POST, LIST, &body).await;
    assert_eq!((during.status, during.json()), (202, before.json()), "and the repetition is known all the same");
    // what cannot be compared is recorded, as another call
    let other = send(Method::POST, LIST, &with(json!({ "timestamp": body["timestamp"], "cost_usd": "1" }))).await;
    let batch = send(Method::POST, BATCH, &json!({ "items": [body] })).await;
    assert!(ids(&other) != ids(&before) && ids(&batch) != ids(&before), "{} {}", other.text, batch.text);
    // nor does it wait for one that is silent
    proxy.set(Traffic::Silence);
    assert_eq!(ids(&send(Method::POST, LIST, &body).await), ids(&before));
}

#[tokio::test]
async fn calls_are_listed_by_what_they_were() {
    let company = Company::open().await;
    let (agent, session, task, key) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let minute_of = |minute: u32| format!("{}T10:{minute:02}:00Z", day(4));
    let mut ids = Vec::new();
    for (minute, row) in (0..).zip([
        json!({ "cost_usd": "0.5", "cost_source": "catalogue", "agent_id": agent, "task_id": task }),
        json!({ "provider": "anthropic", "model": "m-2", "session_id": session, "api_key_id": key }),
        json!({ "success": false, "finish": "error", "cost_usd": "0", "cost_source": "free", "agent_id": agent }),
        json!({ "finish": "cut", "usage_source": "estimated" }),
        // at the same moment as the one before: the id decides
        json!({ "timestamp": minute_of(3), "cost_usd": "1" , "cost_source": "override" }),
    ]) {
        let mut row = row;
        row["timestamp"] = row.get("timestamp").cloned().unwrap_or_else(|| json!(minute_of(minute)));
        ids.push(shipped(&company, row).await);
    }
    // an adjustment is no call; it prices the second
    let adjustment = json!({ "kind": "adjustment", "adjusts": ids[1], "prices_call": true, "cost_usd": "0.25", "cost_source": "adjustment" });
    shipped(&company, adjustment).await;

    let newest_first: Vec<&String> = ids.iter().rev().collect();
    assert_eq!(column(&company.walk(LIST, 2).await, "id").iter().collect::<Vec<_>>(), newest_first);
    for (query, expected) in [
        ("provider=anthropic".to_owned(), &[1][..]),
        ("model=m-2".to_owned(), &[1]),
        (format!("agent_id={agent}"), &[2, 0]),
        (format!("task_id={task}"), &[0]),
        (format!("session_id={session}"), &[1]),
        (format!("api_key_id={key}"), &[1]),
        ("success=false".to_owned(), &[2]),
        ("finish=cut".to_owned(), &[3]),
        ("unpriced=true".to_owned(), &[3]),
        ("unpriced=false".to_owned(), &[4, 2, 1, 0]),
        (format!("from={}", minute_of(3)), &[4, 3]),
        (format!("to={}", minute_of(1)), &[0]),
        (format!("from={}&to={}&success=true", minute_of(1), minute_of(3)), &[1]),
        (format!("agent_id={}", Uuid::nil()), &[]),
    ] {
        let rows = company.walk(&format!("{LIST}?{query}"), 1).await;
        let expected: Vec<&String> = expected.iter().map(|n: &usize| &ids[*n]).collect();
        assert_eq!(column(&rows, "id").iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let priced = company.get(&format!("{LIST}?model=m-2")).await.json();
    let priced = &priced["data"][0];
    assert_eq!((&priced["cost_usd"], &priced["adjustments_usd"]), (&Value::Null, &json!("0.25")));
    assert_eq!(priced["unpriced"], false);
}

#[tokio::test]
async fn a_call_shows_how_its_cost_comes_about() {
    let company = Company::open().await;
    let row = json!({
        "usage": { "input": 1000, "cache_read": 3, "output": 7, "units": { "web_search": 2 } }, "tokens_input": 1003, "tokens_output": 7,
        "cost_usd": "0.0231059", "cost_source": "catalogue", "price_version": "openai/m-1@2026-01-01+0123abcd",
        "rates": { "input": "3", "cache_read": "0.3", "output": "15", "units": { "web_search": "0.01" } },
        "list_baseline_usd": "0.1", "hour": format!("{}T10:00:00Z", day(4)), "day": day(4), "timestamp": format!("{}T10:11:12.131415Z", day(4)),
    });
    let id = shipped(&company, row).await;
    for (cost, day) in [("-0.003", day(2)), ("0.001", day(3))] {
        let adjustment = json!({
            "kind": "adjustment", "adjusts": id, "cost_usd": cost, "cost_source": "adjustment", "day": day, "timestamp": format!("{day}T00:00:00Z"),
        });
        shipped(&company, adjustment).await;
    }
    let shown = company.get(&format!("{LIST}/{id}")).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let shown = shown.json();
    assert_eq!((&shown["cost_usd"], &shown["adjustments_usd"]), (&json!("0.0231059"), &json!("-0.002")));
    assert_eq!(
        shown["timestamp"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp_subsec_micros(),
        131_415
    );
    let lines: Vec<(&str, &str)> = shown["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["what"].as_str().unwrap(), line["usd"].as_str().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [("input", "0.003"), ("cache_read", "0.0000009"), ("output", "0.000105"), ("web_search", "0.02")]
    );
    let adjustments = shown["adjustments"].as_array().unwrap();
    assert_eq!(column(adjustments, "cost_usd"), ["0.001", "-0.003"], "in the order of time");
    assert_eq!(shown["rates"]["input"], "3");
}
