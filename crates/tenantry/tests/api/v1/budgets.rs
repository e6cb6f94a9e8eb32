//! `/v1/budgets`, and what is told of them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use isolation::backends::eventually;
use isolation::server::Answer;
use isolation::service;
use isolation::stream::Stream;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::company::Company;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn everything() -> Value {
    json!({ "name": "Everything", "scope": "tenant", "period": "month", "limit_usd": "10.50" })
}

fn at(budget: &Value, step: &str) -> String {
    format!("/v1/budgets/{}{step}", budget["id"].as_str().unwrap())
}

impl Company {
    /// What the shipper would write.
    async fn spend(&self, cost: &str) {
        let sql = format!(
            "INSERT INTO analytics.spend_counters AS c (tenant_id, scope, scope_id, day, cost_usd, calls, unpriced_calls) \
             SELECT id, 'tenant', id, (now() AT TIME ZONE 'UTC')::date, {cost}, 1, 1 FROM public.tenants WHERE slug = 'acme' \
             ON CONFLICT (tenant_id, scope, scope_id, day) DO UPDATE SET cost_usd = c.cost_usd + excluded.cost_usd"
        );
        self.server.database.admin().await.batch_execute(&sql).await.unwrap();
    }
}

#[tokio::test]
async fn a_budget_is_made_read_changed_and_deleted() {
    let company = Company::open().await;
    let made = company.post("/v1/budgets", everything()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let budget = made.json();
    assert_eq!(made.header("location"), at(&budget, ""));
    assert_eq!(
        (&budget["limit_usd"], &budget["hard"], &budget["scope_id"]),
        (&json!("10.5"), &json!(true), &Value::Null)
    );
    assert_eq!(budget["warn_at"], json!([50, 80, 100]));
    assert_eq!(company.get(&at(&budget, "")).await.json(), budget);
    let taken = company.post("/v1/budgets", everything()).await;
    assert_eq!(taken.verdict(), (409, "budget_name_taken".to_owned()));
    let unknown = json!({ "name": "x", "scope": "key", "scope_id": budget["id"], "period": "day", "limit_usd": "1" });
    let unknown = company.post("/v1/budgets", unknown).await;
    assert_eq!(unknown.verdict(), (422, "unknown_scope".to_owned()));
    let key =
        json!({ "name": "key", "scope": "key", "scope_id": company.tenant.key_id, "period": "day", "limit_usd": "1" });
    let key = company.make("/v1/budgets", key).await;
    assert_eq!(company.walk("/v1/budgets", 1).await, [key.clone(), budget.clone()]);
    assert_eq!(company.walk("/v1/budgets?scope=key", 5).await, [key]);

    let path = at(&budget, "");
    assert_eq!(
        company.patch(&path, json!({ "limit_usd": "20" })).await.verdict(),
        (428, "version_required".to_owned())
    );
    let changed = company.patch_if(&path, "\"1\"", json!({ "limit_usd": "20", "name": "All" })).await;
    assert_eq!((changed.status, &changed.json()["limit_usd"]), (200, &json!("20")), "{}", changed.text);
    let stale = company.patch_if(&path, "\"1\"", json!({ "limit_usd": "30" })).await;
    assert_eq!((stale.verdict(), &stale.json()["current"]), ((409, "version_conflict".to_owned()), &changed.json()));
    let sql = "SELECT details FROM audit.events WHERE action = 'budget.update'";
    let trail: Value = company.server.database.admin().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(trail["limit_usd"], json!({ "from": "10.5", "to": "20" }), "who raised it from what is in the trail");
    assert_eq!(company.delete_if(&path, "\"1\"").await.status, 409);
    assert_eq!(company.delete(&path).await.status, 204);
    for gone in [company.get(&path).await, company.get(&at(&budget, "/status")).await, company.delete(&path).await] {
        assert_eq!(gone.verdict(), (404, "budget_not_found".to_owned()));
    }
    company.make("/v1/budgets", everything()).await;
}

#[tokio::test]
async fn a_status_says_where_a_budget_stands() {
    let company = Company::open().await;
    let budget = company.make("/v1/budgets", everything()).await;
    company.spend("2.100000000001").await;
    let status = company.get(&at(&budget, "/status")).await.json();
    assert_eq!(
        (&status["spent_usd"], &status["reserved_usd"], &status["remaining_usd"], &status["percent"]),
        (&json!("2.100000000001"), &json!("0"), &json!("8.399999999999"), &json!("20"))
    );
    assert_eq!((&status["unpriced_calls"], &status["exhausted"]), (&json!(1), &json!(false)));
    assert!(status["resets_at"].as_str() > status["started_at"].as_str(), "{status}");
}

#[tokio::test]
async fn the_cost_summary_has_the_budgets_nearest_to_their_limit_first() {
    let company = Company::open().await;
    let budgets = async || company.get("/v1/analytics/cost-summary?provider=nobody").await.json()["budgets"].clone();
    assert_eq!(budgets().await, json!({ "total": 0, "exhausted": 0, "nearest": [] }));
    let month = company.make("/v1/budgets", everything()).await;
    let warns = json!({ "name": "Warns", "scope": "tenant", "period": "day", "limit_usd": "4", "hard": false });
    let day = company.make("/v1/budgets", warns).await;
    let key =
        json!({ "name": "Key", "scope": "key", "scope_id": company.tenant.key_id, "period": "week", "limit_usd": "1" });
    let week = company.make("/v1/budgets", key).await;
    let gone = company
        .make("/v1/budgets", json!({ "name": "Gone", "scope": "tenant", "period": "day", "limit_usd": "1" }))
        .await;
    company.delete(&at(&gone, "")).await;
    company.spend("4.2").await;
    let found = budgets().await;
    assert_eq!((&found["total"], &found["exhausted"]), (&json!(3), &json!(1)), "{found}");
    let row = |n: usize| {
        ["budget_id", "spent_usd", "percent", "hard", "stops"].map(|member| found["nearest"][n][member].clone())
    };
    assert_eq!(row(0), [day["id"].clone(), json!("4.2"), json!(105.0), json!(false), json!(false)]);
    assert_eq!(row(1), [month["id"].clone(), json!("4.2"), json!(40.0), json!(true), json!(false)]);
    assert_eq!(row(2), [week["id"].clone(), json!("0"), json!(0.0), json!(true), json!(false)]);
    company.spend("6.3").await;
    let found = budgets().await;
    let stopping = found["nearest"].as_array().unwrap().iter().filter(|row| row["stops"] == true);
    assert_eq!(stopping.map(|row| &row["budget_id"]).collect::<Vec<_>>(), [&month["id"]], "the hard one that is spent");
    // as its status has it
    let status = company.get(&at(&month, "/status")).await.json();
    let shown = found["nearest"].as_array().unwrap().iter().find(|row| row["budget_id"] == month["id"]).unwrap();
    for member in ["limit_usd", "spent_usd", "period_start", "resets_at"] {
        assert_eq!(shown[member], status[member], "{member}");
    }
}

/// Who may read sums of calls is not told thereby what they are measured by.
#[tokio::test]
async fn the_cost_summary_has_no_budgets_for_who_may_not_read_them() {
    let company = Company::open().await;
    company.make("/v1/budgets", everything()).await;
    for (scopes, total) in [
        (json!(["analytics:read"]), Value::Null),
        (json!(["analytics:read", "budgets:read"]), json!(1)),
        (json!(["*"]), json!(1)),
    ] {
        let key = company.make("/v1/keys", json!({ "name": "sums", "scopes": scopes })).await;
        let summary = company.key_sends(&key, Method::GET, "/v1/analytics/cost-summary", None).await;
        assert_eq!(summary.status, 200, "{}", summary.text);
        assert_eq!(summary.json()["budgets"]["total"], total, "{scopes}");
        assert_eq!(summary.text.contains("Everything"), !total.is_null(), "{scopes}");
    }
}

/// An idempotent repetition, whose answer is kept, holds no secret; neither does anything else that is kept.
#[tokio::test]
async fn the_secret_of_a_webhook_is_never_shown() {
    let company = Company::open().await;
    let mut body = everything();
    body["webhook_url"] = json!("https://hooks.service.test/x");
    assert_eq!(company.post("/v1/budgets", body.clone()).await.status, 422, "no secret");
    body["webhook_secret"] = json!(SECRET);
    let send =
        || company.server.by(&company.tenant, Method::POST, "/v1/budgets").header("idempotency-key", "k").json(&body);
    let (first, second) = (Answer::to(send()).await, Answer::to(send()).await);
    assert_eq!((first.status, &first.text), (201, &second.text));
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert!(!first.text.contains("whsec_"), "{}", first.text);
    let dump = "SELECT string_agg(t, '') FROM (SELECT b::text AS t FROM analytics.budgets b UNION ALL SELECT e::text FROM audit.events e \
        UNION ALL SELECT k::text FROM tenant_acme.idempotency_keys k UNION ALL SELECT v::text FROM tenant_acme.events v) all_of_it";
    let dump: String = company.server.database.admin().await.query_one(dump, &[]).await.unwrap().get(0);
    assert!(dump.contains("hooks.service.test") && !dump.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    // nobody can have posts that are signed with it sent elsewhere
    let path = at(&first.json(), "");
    let moved = company.patch_if(&path, "\"1\"", json!({ "webhook_url": "https://evil.service.test/" })).await;
    assert_eq!((moved.status, &moved.json()["errors"][0]["pointer"]), (422, &json!("/webhook_secret")));
    let without = company.patch_if(&path, "\"1\"", json!({ "webhook_url": null })).await;
    assert_eq!((without.status, &without.json()["webhook_url"]), (200, &Value::Null), "{}", without.text);
    assert_eq!(
        company.post(&at(&first.json(), "/test"), json!({})).await.verdict(),
        (409, "budget_without_webhook".to_owned())
    );
}

/// What a receiver was sent, and what it is to answer next.
#[derive(Clone)]
struct Receiver {
    posts: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
    /// It answers as long as nobody has all of them.
    turns: Arc<Semaphore>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self { posts: Arc::default(), answers: Arc::default(), turns: Arc::new(Semaphore::new(TURNS)) }
    }
}

const TURNS: usize = 8;

impl Receiver {
    /// Listens over TLS; gives the port.
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = self.clone();
        let receive = move |headers: HeaderMap, body: Bytes| async move {
            receiver.posts.lock().unwrap().push((headers, String::from_utf8(body.to_vec()).unwrap()));
            receiver.answers.lock().unwrap().pop().unwrap_or(StatusCode::NO_CONTENT)
        };
        tokio::spawn(service::serve(listener, Router::new().route("/hook", post(receive))));
        port
    }

    fn posts(&self) -> Vec<(HeaderMap, String)> {
        self.posts.lock().unwrap().clone()
    }
}

/// As a receiver checks it, by the specification's words.
fn is_signed(secret: &str, headers: &HeaderMap, body: &str) -> bool {
    let header = |name: &str| headers[name].to_str().unwrap();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_warning_is_an_event_and_a_signed_post_that_is_tried_again() {
    let company = Company::open().await;
    let receiver = Receiver::default();
    let port = receiver.start().await;
    let mut stream = Stream::open(company.server.by(&company.tenant, Method::GET, "/v1/events")).await;
    let mut body = everything();
    body["warn_at"] = json!([50]);
    body["webhook_url"] = json!(format!("https://hooks.service.test:{port}/hook"));
    body["webhook_secret"] = json!(SECRET);
    let budget = company.make("/v1/budgets", body).await;

    let test = company.post(&at(&budget, "/test"), json!({})).await;
    assert_eq!((test.status, test.json()), (200, json!({ "status": 204, "delivered": true })), "{}", test.text);
    let (headers, sent) = receiver.posts()[0].clone();
    assert!(
        is_signed(SECRET, &headers, &sent) && !is_signed(OTHER_SECRET, &headers, &sent),
        "the control: a check that fails"
    );
    assert!(!is_signed(SECRET, &headers, &format!("{sent} ")), "the control: another body");

    let repeated = company.post(&at(&budget, "/test"), json!({})).await;
    assert_eq!((repeated.status, receiver.posts().len()), (200, 2), "without a key each is one of its own");
    let keyed = || {
        let request = company.server.by(&company.tenant, Method::POST, &at(&budget, "/test"));
        Answer::to(request.header("idempotency-key", "test").json(&json!({})))
    };
    let (one, other) = (keyed().await, keyed().await);
    let replayed = [&one, &other].map(|answer| answer.header("idempotency-replayed") == "true");
    assert_eq!((one.status, &one.text, replayed), (200, &other.text, [false, true]));
    assert_eq!(receiver.posts().len(), 3, "it was sent once");
    receiver.posts.lock().unwrap().clear();

    receiver.answers.lock().unwrap().push(StatusCode::INTERNAL_SERVER_ERROR);
    company.spend("6").await;
    // looked at when it is changed, as it is after each shipment
    company.patch_if(&at(&budget, ""), "\"1\"", json!({ "limit_usd": "12" })).await;
    let event = stream.until("budget.threshold").await.json();
    assert_eq!(
        (&event["data"]["threshold_percent"], &event["data"]["spent_usd"]),
        (&json!(50), &json!("6")),
        "{event}"
    );
    assert_eq!((&event["data"]["budget"]["id"], &event["data"]["limit_usd"]), (&budget["id"], &json!("12")));
    eventually("the first attempt", async || receiver.posts().len() == 1).await;
    let admin = company.server.database.admin().await;
    let waits = "UPDATE analytics.budget_notices SET next_attempt_at = now() WHERE attempts = 1 AND next_attempt_at > now() \
        AND delivered_at IS NULL AND last_error = 'the receiver answered 500' RETURNING id";
    eventually("it is put off", async || !admin.query(waits, &[]).await.unwrap().is_empty()).await;
    eventually("the second attempt", async || receiver.posts().len() == 2).await;
    let posts = receiver.posts();
    assert!(posts.iter().all(|(headers, sent)| is_signed(SECRET, headers, sent)));
    assert_eq!(posts[0].0["webhook-id"], posts[1].0["webhook-id"], "a receiver knows it by its id");
    assert_eq!(posts[0].1, posts[1].1);
    let sent: Value = serde_json::from_str(&posts[1].1).unwrap();
    assert_eq!((&sent["type"], &sent["data"]), (&json!("budget.threshold"), &event["data"]));
    let done = "SELECT 1 FROM analytics.budget_notices WHERE attempts = 2 AND delivered_at IS NOT NULL AND next_attempt_at IS NULL";
    eventually("it is done with", async || admin.query(done, &[]).await.unwrap().len() == 1).await;
    let published = "SELECT 1 FROM tenant_acme.events WHERE kind = 'budget.threshold'";
    assert_eq!(admin.query(published, &[]).await.unwrap().len(), 1, "the event is there once");
}

/// The tenant has one connection here, and its receiver takes its time.
#[tokio::test]
async fn a_test_post_under_a_key_holds_no_connection() {
    let server = isolation::server::TestServer::with(|settings| settings.access.tenant_connections = 1).await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let receiver = Receiver::default();
    let mut body = everything();
    body["webhook_url"] = json!(format!("https://hooks.service.test:{}/hook", receiver.start().await));
    body["webhook_secret"] = json!(SECRET);
    let path = at(&company.make("/v1/budgets", body).await, "/test");
    let keyed = |path: &str| {
        let request = company.server.by(&company.tenant, Method::POST, path);
        Answer::to(request.header("idempotency-key", "test").json(&json!({})))
    };
    let answers_nothing = receiver.turns.acquire_many(TURNS.try_into().unwrap()).await.unwrap();
    let first = tokio::spawn(keyed(&path));
    eventually("the receiver is asked", async || receiver.posts().len() == 1).await;
    assert_eq!(company.get("/v1/budgets").await.status, 200, "the connection is free");
    let early = keyed(&path).await;
    assert_eq!((early.verdict(), early.header("retry-after")), ((409, "request_in_progress".to_owned()), "1"));
    let other = Answer::to(
        company
            .server
            .by(&company.tenant, Method::POST, "/v1/agents")
            .header("idempotency-key", "test")
            .json(&json!({ "name": "x", "role": "support" })),
    );
    assert_eq!(other.await.verdict(), (422, "idempotency_key_reused".to_owned()), "the claim is not overwritten");
    drop(answers_nothing);
    let (first, again) = (first.await.unwrap(), keyed(&path).await);
    assert_eq!((first.status, again.status, &again.text), (200, 200, &first.text), "{}", first.text);
    assert_eq!((again.header("idempotency-replayed"), receiver.posts().len()), ("true", 1));

    // A server was killed on the way: what it has claimed is free again after a while, and not before.
    let admin = company.server.database.admin().await;
    let claimed = async |ago: &str| {
        let sql =
            format!("UPDATE tenant_acme.idempotency_keys SET status = NULL, created_at = now() - interval '{ago}'");
        assert_eq!(admin.execute(&sql, &[]).await.unwrap(), 1);
    };
    claimed("45 s").await;
    assert_eq!(keyed(&path).await.status, 409);
    claimed("55 s").await;
    assert_eq!((keyed(&path).await.status, receiver.posts().len()), (200, 2));

    // A refusal gives the key back.
    let nothing = format!("/v1/budgets/{}/test", uuid::Uuid::now_v7());
    admin.execute("DELETE FROM tenant_acme.idempotency_keys", &[]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(keyed(&nothing).await.verdict(), (404, "budget_not_found".to_owned()));
    }
    assert_eq!(keyed(&path).await.status, 200);
}

/// A receiver in the server's own network is none.
#[tokio::test]
async fn posts_go_to_public_addresses_only() {
    let server = isolation::server::TestServer::with(|settings| settings.egress.laboratory.loopback = false).await;
    let tenant = server.tenant("acme").await;
    let company = Company { server, tenant };
    let mut body = everything();
    body["webhook_url"] = json!(format!("https://hooks.service.test:{}/echo", service::port()));
    body["webhook_secret"] = json!(SECRET);
    let budget = company.make("/v1/budgets", body).await;
    assert_eq!(company.post(&at(&budget, "/test"), json!({})).await.verdict(), (403, "egress_refused".to_owned()));
}
