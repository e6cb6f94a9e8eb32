//! Limits hold exactly, however many clients want the last place.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};
use futures_util::future::join_all;
use isolation::server::{Answer, Tenant, TestServer, actor};
use reqwest::Method;
use serde_json::{Value, json};
use tenantry_postgres::TenantPatch;

use crate::company::{Company, at, refusal};

const CLIENTS: usize = 50;

impl Company {
    /// Sets limits of the tenant's own and waits until the server knows them.
    pub(super) async fn limit(&self, patch: TenantPatch) {
        let wanted = (patch.max_agents.flatten(), patch.max_tasks_per_month.flatten());
        self.server.state.provisioner.update(&self.tenant.slug, &patch, &actor()).await.unwrap();
        self.until_plan(|limits| {
            wanted.0.is_none_or(|limit| limits["max_agents"]["value"] == limit)
                && wanted.1.is_none_or(|limit| limits["max_tasks_per_month"]["value"] == limit)
        })
        .await;
    }

    /// Sets how many tasks everybody on the plan may have in progress.
    pub(super) async fn limit_running(&self, limit: Option<i32>) {
        let sql = "UPDATE public.plans SET max_concurrent_tasks = $1 WHERE tier = 'enterprise'";
        self.server.database.admin().await.execute(sql, &[&limit]).await.unwrap();
        self.until_plan(|limits| limits["max_concurrent_tasks"]["value"] == json!(limit)).await;
    }

    async fn until_plan(&self, there: impl Fn(&Value) -> bool) {
        for _ in 0..500 {
            if there(&self.get("/v1/plan").await.json()["limits"]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the server does not hear of the limit");
    }

    /// The same request by many clients at once; each is a connection of its own.
    async fn all_at_once(&self, method: Method, requests: Vec<(String, Value)>) -> Vec<Answer> {
        let sent = requests.into_iter().map(|(path, body)| {
            let client = isolation::server::client();
            let (url, key) = (format!("http://{}{path}", self.server.address), self.tenant.key.clone());
            let request = client.request(method.clone(), url).header("x-api-key", key);
            let request = if body.is_null() { request } else { request.header("if-match", "\"1\"").json(&body) };
            tokio::spawn(async move { Answer::to(request).await })
        });
        join_all(sent).await.into_iter().map(Result::unwrap).collect()
    }

    async fn used(&self, quota: &str) -> i64 {
        self.get("/v1/usage").await.json()[quota]["used"].as_i64().unwrap()
    }

    /// The counters say what there is.
    async fn is_exact(&self) {
        let sql = format!(
            "SELECT (SELECT count(*) FROM {0}.agents WHERE deleted_at IS NULL), \
                    (SELECT count(*) FROM {0}.tasks WHERE created_at >= date_trunc('month', now(), 'UTC')), \
                    (SELECT count(*) FROM {0}.tasks WHERE status = 'in_progress' AND deleted_at IS NULL)",
            self.tenant.schema
        );
        let row = self.server.database.admin().await.query_one(&sql, &[]).await.unwrap();
        let truth: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let counted = (self.used("agents").await, self.used("tasks").await, self.used("concurrent_tasks").await);
        assert_eq!(counted, truth);
    }
}

fn statuses(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

fn new_agents(mark: &str) -> Vec<(String, Value)> {
    (0..CLIENTS)
        .map(|n| ("/v1/agents".to_owned(), json!({ "name": format!("{mark} {n}"), "role": "support" })))
        .collect()
}

fn agents(limit: i32) -> TenantPatch {
    TenantPatch { max_agents: Some(Some(limit)), ..TenantPatch::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_want_the_last_agent() {
    let company = Company::open().await;
    company.agent("first").await;
    let second = company.agent("second").await;
    company.limit(agents(3)).await;
    let answers = company.all_at_once(Method::POST, new_agents("rush")).await;
    assert_eq!((statuses(&answers, 201), statuses(&answers, 402)), (1, CLIENTS - 1));
    let refused = answers.iter().find(|answer| answer.status == 402).unwrap().json();
    assert_eq!(refused["code"], "quota_exceeded");
    assert_eq!(
        (&refused["limit_name"], &refused["limit"], &refused["used"]),
        (&json!("max_agents"), &json!(3), &json!(3))
    );
    assert_eq!(refused.get("resets_at"), Some(&Value::Null));
    assert!(refused["detail"].as_str().unwrap().contains("delete one"), "{refused}");
    company.is_exact().await;

    // a deletion gives the place back, once
    assert_eq!(company.delete(&at("agents", &second)).await.status, 204);
    let answers = company.all_at_once(Method::POST, new_agents("again")).await;
    assert_eq!((statuses(&answers, 201), statuses(&answers, 402)), (1, CLIENTS - 1));
    company.is_exact().await;

    // the control: without the limit all of them come through, so it was the limit that stopped them
    company.limit(agents(1000)).await;
    let answers = company.all_at_once(Method::POST, new_agents("free")).await;
    assert_eq!(statuses(&answers, 201), CLIENTS);
    company.is_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_want_the_months_last_task() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    for n in 0..3 {
        company.task(&agent, &format!("task {n}")).await;
    }
    let gone = company.task(&agent, "deleted").await;
    assert_eq!(company.delete(&at("tasks", &gone)).await.status, 204);
    company.limit(TenantPatch { max_tasks_per_month: Some(Some(5)), ..TenantPatch::default() }).await;
    let body = json!({ "agent_id": agent["id"], "title": "rush" });
    let requests = vec![("/v1/tasks".to_owned(), body); CLIENTS];
    let answers = company.all_at_once(Method::POST, requests).await;
    assert_eq!((statuses(&answers, 201), statuses(&answers, 402)), (1, CLIENTS - 1));
    let refused = answers.iter().find(|answer| answer.status == 402).unwrap().json();
    assert_eq!(refused["code"], "quota_exceeded");
    assert_eq!(
        (&refused["limit_name"], &refused["limit"], &refused["used"]),
        (&json!("max_tasks_per_month"), &json!(5), &json!(5))
    );
    let resets: DateTime<Utc> = refused["resets_at"].as_str().unwrap().parse().unwrap();
    assert!(resets > Utc::now() && resets.day() == 1 && resets.time() == chrono::NaiveTime::MIN, "{resets}");
    company.is_exact().await;

    // an unknown agent is no use of the quota, and a key that was refused is free for another try
    let unknown = company.post("/v1/tasks", json!({ "agent_id": uuid::Uuid::new_v4(), "title": "x" })).await;
    assert_eq!(unknown.verdict(), refusal(422, "unknown_agent"));
    let once = || {
        let request = company.server.by(&company.tenant, Method::POST, "/v1/tasks").header("idempotency-key", "k-1");
        Answer::to(request.json(&json!({ "agent_id": agent["id"], "title": "once" })))
    };
    assert_eq!(once().await.verdict(), refusal(402, "quota_exceeded"));
    company.limit(TenantPatch { max_tasks_per_month: Some(Some(6)), ..TenantPatch::default() }).await;
    assert_eq!(once().await.status, 201);
    assert_eq!(once().await.status, 201, "the answer is given again and nothing is made");
    company.is_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_want_the_last_running_task() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let mut tasks = Vec::new();
    for n in 0..CLIENTS + 2 {
        tasks.push(company.task(&agent, &format!("task {n}")).await);
    }
    let start = json!({ "status": "in_progress" });
    for task in &tasks[..2] {
        assert_eq!(company.patch_if(&at("tasks", task), "\"1\"", start.clone()).await.status, 200);
    }
    company.limit_running(Some(3)).await;
    let requests: Vec<(String, Value)> = tasks[2..].iter().map(|task| (at("tasks", task), start.clone())).collect();
    let answers = company.all_at_once(Method::PATCH, requests.clone()).await;
    assert_eq!((statuses(&answers, 200), statuses(&answers, 429)), (1, CLIENTS - 1));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap().json();
    assert_eq!(refused["code"], "too_many_running_tasks");
    assert_eq!(
        (&refused["limit_name"], &refused["limit"], &refused["used"]),
        (&json!("max_concurrent_tasks"), &json!(3), &json!(3))
    );
    company.is_exact().await;

    // one that ends and one that is deleted make room for two
    let ended = company.patch_if(&at("tasks", &tasks[0]), "\"2\"", json!({ "status": "completed" })).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(company.delete(&at("tasks", &tasks[1])).await.status, 204);
    let answers = company.all_at_once(Method::PATCH, requests).await;
    assert_eq!(statuses(&answers, 200), 2);
    company.is_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_stay_exact_in_any_mixture() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let (mut spare, mut running) = (Vec::new(), Vec::new());
    for n in 0..10 {
        spare.push(company.agent(&format!("spare {n}")).await);
        let task = company.task(&agent, &format!("task {n}")).await;
        let started = company.patch_if(&at("tasks", &task), "\"1\"", json!({ "status": "in_progress" })).await;
        running.push(started.json());
    }
    company.limit(agents(12)).await;
    let make = company.all_at_once(Method::POST, new_agents("mixed"));
    // each of them twice: the second finds nothing
    let gone: Vec<(String, Value)> =
        [&spare, &spare].into_iter().flatten().map(|a| (at("agents", a), Value::Null)).collect();
    let ended: Vec<(String, Value)> = running.iter().map(|t| (at("tasks", t), Value::Null)).collect();
    let (made, gone, ended) =
        tokio::join!(make, company.all_at_once(Method::DELETE, gone), company.all_at_once(Method::DELETE, ended));
    assert!(made.iter().all(|answer| [201, 402].contains(&answer.status)), "{made:?}");
    assert!(gone.iter().all(|answer| [204, 404].contains(&answer.status)), "{gone:?}");
    assert!(ended.iter().all(|answer| answer.status == 204), "{ended:?}");
    assert!(company.used("agents").await <= 12);
    company.is_exact().await;
}

#[tokio::test]
async fn ones_use_is_never_anothers() {
    let company = Company::open().await;
    let other = company.server.tenant("globex").await;
    let agent = company.agent("Mira").await;
    company.task(&agent, "first").await;
    company.limit(TenantPatch { max_tasks_per_month: Some(Some(1)), ..agents(1) }).await;
    let mine = company.post("/v1/agents", json!({ "name": "more", "role": "support" })).await;
    assert_eq!(mine.verdict(), refusal(402, "quota_exceeded"));
    let theirs = usage(&company.server, &other).await;
    assert_eq!(
        (&theirs["agents"]["used"], &theirs["tasks"]["used"], &theirs["agents"]["limit"]),
        (&json!(0), &json!(0), &Value::Null)
    );
    let made =
        Answer::to(company.server.by(&other, Method::POST, "/v1/agents").json(&json!({ "name": "x", "role": "y" })))
            .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(company.used("agents").await, 1);
}

async fn usage(server: &TestServer, tenant: &Tenant) -> Value {
    Answer::to(server.by(tenant, Method::GET, "/v1/usage")).await.json()
}

#[tokio::test]
async fn usage_and_plan_say_what_there_is_and_where_it_comes_from() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    company.task(&agent, "first").await;
    company.limit(agents(4)).await;
    let plan = company.get("/v1/plan").await.json();
    assert_eq!(plan["tier"], "enterprise");
    assert_eq!(plan["limits"]["max_agents"], json!({ "value": 4, "source": "override" }));
    assert_eq!(plan["limits"]["max_tasks_per_month"], json!({ "value": null, "source": "plan" }));
    assert_eq!(plan["limits"]["requests_per_minute"], json!({ "value": null, "source": "plan" }));
    let usage = company.get("/v1/usage").await.json();
    assert_eq!(
        usage["agents"],
        json!({ "limit_name": "max_agents", "limit": 4, "used": 1, "percent": 25.0, "resets_at": null })
    );
    assert_eq!((&usage["tasks"]["used"], &usage["tasks"]["percent"]), (&json!(1), &Value::Null));
    assert!(usage["tasks"]["resets_at"].is_string());
    assert_eq!(usage["storage"]["used_bytes"], Value::Null, "nothing was measured yet");
    assert_eq!(usage["requests"]["limit"], Value::Null);
    // a smaller plan than what there is: everything stays and nothing is added
    company.limit(agents(0)).await;
    assert_eq!(company.get("/v1/usage").await.json()["agents"]["percent"], 100.0);
    let refused = company.post("/v1/agents", json!({ "name": "more", "role": "support" })).await;
    assert_eq!((refused.verdict(), &refused.json()["limit"]), (refusal(402, "quota_exceeded"), &json!(0)));
}
