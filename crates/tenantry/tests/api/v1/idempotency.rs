//! `Idempotency-Key`: one effect and one answer, however often and from wherever a request comes.

use futures_util::future::join_all;
use isolation::server::{Answer, Tenant, TestServer};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry_postgres::NewKey;

use crate::company::{Company, refusal};

async fn post(server: &TestServer, by: &Tenant, key: &str, body: &Value) -> Answer {
    Answer::to(server.by(by, Method::POST, "/v1/agents").header("idempotency-key", key).json(body)).await
}

fn mira() -> Value {
    json!({ "name": "Mira", "role": "support" })
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let company = Company::open().await;
    let (server, tenant) = (&company.server, &company.tenant);
    let first = post(server, tenant, "k-1", &mira()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""));
    for _ in 0..2 {
        let again = post(server, tenant, "k-1", &mira()).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
        assert_eq!(again.json(), first.json());
        for header in ["etag", "location", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
    }
    assert_eq!(company.walk("/v1/agents", 50).await.len(), 1);
    let target = format!("agent/{}", first.json()["id"].as_str().unwrap());
    assert_eq!(company.events(&target).await.len(), 1, "and one audit event");
    let other = post(server, tenant, "k-1", &json!({ "name": "Noor", "role": "support" })).await;
    assert_eq!(other.verdict(), refusal(422, "idempotency_key_reused"));
    let elsewhere = server.by(tenant, Method::POST, "/v1/tasks").header("idempotency-key", "k-1");
    let elsewhere = Answer::to(elsewhere.json(&json!({ "agent_id": first.json()["id"], "title": "x" }))).await;
    assert_eq!(elsewhere.verdict(), refusal(422, "idempotency_key_reused"));
    assert_eq!(
        post(server, tenant, &"k".repeat(256), &mira()).await.verdict(),
        refusal(400, "invalid_idempotency_key")
    );
}

/// A task may be made any number of times, so only the key shows that it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_repeated_in_vain_leaves_nothing() {
    let company = Company::open().await;
    let (server, tenant) = (&company.server, &company.tenant);
    let agent = company.agent("Mira").await;
    let body = json!({ "agent_id": agent["id"], "title": "Sweep up" });
    let make = |key: &'static str, body: Value| async move {
        Answer::to(server.by(tenant, Method::POST, "/v1/tasks").header("idempotency-key", key).json(&body)).await
    };
    let first = make("k", body.clone()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""));
    for again in join_all((0..6).map(|_| make("k", body.clone()))).await {
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
        assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    }
    let other = make("k", json!({ "agent_id": agent["id"], "title": "Sweep down" })).await;
    assert_eq!(other.verdict(), refusal(422, "idempotency_key_reused"));
    assert_eq!(company.walk("/v1/tasks", 50).await, [first.json()]);
    let usage = company.get("/v1/usage").await.json();
    assert_eq!(usage["tasks"]["used"], 1, "nor is it counted");
    let admin = server.database.admin().await;
    let told = format!(
        "SELECT (SELECT count(*) FROM {}.events WHERE kind = 'task.created'), \
                (SELECT count(*) FROM audit.events WHERE action = 'task.create')",
        tenant.schema
    );
    let told = admin.query_one(&told, &[]).await.unwrap();
    assert_eq!((told.get::<_, i64>(0), told.get::<_, i64>(1)), (1, 1), "nor told of");
    assert_eq!(make("l", body).await.status, 201, "the connections are as good as new");
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let company = Company::open().await;
    let (server, tenant) = (&company.server, &company.tenant);
    let taken = company.agent("Mira").await;
    let refused = post(server, tenant, "k", &mira()).await;
    assert_eq!(refused.verdict(), refusal(409, "agent_name_taken"));
    assert_eq!(company.delete(&crate::company::at("agents", &taken)).await.status, 204);
    assert_eq!(post(server, tenant, "k", &mira()).await.status, 201, "the reason is gone, so is the refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_through_two_servers_have_one_effect() {
    let company = Company::open().await;
    let second = TestServer::on(company.server.database.clone(), |_| {}).await;
    for round in 0..5 {
        let (body, key) = (json!({ "name": format!("agent {round}"), "role": "support" }), format!("k-{round}"));
        let servers = [&company.server, &second];
        let calls = (0..10).map(|n| post(servers[n % 2], &company.tenant, &key, &body));
        let answers = join_all(calls).await;
        let ids: Vec<Value> = answers.iter().map(|answer| answer.json()["id"].clone()).collect();
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        assert!(ids.iter().all(|id| *id == ids[0]));
        let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty());
        assert_eq!(fresh.count(), 1, "one did the work");
    }
    assert_eq!(company.walk("/v1/agents", 50).await.len(), 5);
}

#[tokio::test]
async fn keys_of_others_do_not_meet() {
    let company = Company::open().await;
    let server = &company.server;
    let globex = server.tenant("globex").await;
    let first = post(server, &company.tenant, "k", &mira()).await;
    let theirs = post(server, &globex, "k", &mira()).await;
    assert_eq!((theirs.status, theirs.header("idempotency-replayed")), (201, ""), "another tenant");
    assert_ne!(theirs.json()["id"], first.json()["id"]);
    let actor = isolation::server::actor();
    let key = server.state.provisioner.create_key("acme", &NewKey::named("another"), &actor).await.unwrap();
    let colleague =
        Tenant { key: key.token.expose_secret().to_owned(), key_id: key.info.id.to_string(), ..company.tenant.clone() };
    let taken = post(server, &colleague, "k", &mira()).await;
    assert_eq!(
        taken.verdict(),
        refusal(409, "agent_name_taken"),
        "another credential of the tenant did another request"
    );
}

#[tokio::test]
async fn a_day_later_a_key_is_free_and_old_ones_go() {
    let company = Company::open().await;
    let (server, tenant) = (&company.server, &company.tenant);
    assert_eq!(post(server, tenant, "k", &mira()).await.status, 201);
    let admin = server.database.admin().await;
    let age = format!("UPDATE {}.idempotency_keys SET created_at = now() - interval '25 hours'", tenant.schema);
    admin.batch_execute(&age).await.unwrap();
    assert_eq!(post(server, tenant, "k", &mira()).await.verdict(), refusal(409, "agent_name_taken"));
    for n in 0..60 {
        let body = json!({ "name": format!("agent {n}"), "role": "support" });
        assert_eq!(post(server, tenant, &format!("later {n}"), &body).await.status, 201);
    }
    let old =
        format!("SELECT count(*) FROM {}.idempotency_keys WHERE created_at < now() - interval '1 day'", tenant.schema);
    assert_eq!(admin.query_one(&old, &[]).await.unwrap().get::<_, i64>(0), 0);
}
