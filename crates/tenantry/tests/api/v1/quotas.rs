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

/// Everything that locks tasks, agents and counters at once, in both directions. A circle would be broken by the database, and
/// answered with 503.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_meets_at_a_limit_waits_in_one_order() {
    let company = Company::open().await;
    let workers = [company.agent("Mira").await, company.agent("Noor").await];
    let (mut tasks, mut spare) = (Vec::new(), Vec::new());
    for n in 0..16 {
        tasks.push(company.task(&workers[n % 2], &format!("t{n}")).await);
        spare.push(company.agent(&format!("spare {n}")).await);
    }
    company.limit(TenantPatch { max_tasks_per_month: Some(Some(40)), ..agents(20) }).await;
    company.limit_running(Some(5)).await;
    let start = |task: &Value| json!({ "op": "update", "id": task["id"], "version": 1, "status": "in_progress" });
    let make = |n: usize| json!({ "op": "create", "agent_id": workers[n % 2]["id"], "title": "new" });
    let forth: Vec<Value> = (0..8).flat_map(|n| [start(&tasks[n]), make(n)]).collect();
    let back: Vec<Value> = forth.iter().rev().cloned().collect();
    let rename = |from: usize, to: usize| json!({ "op": "update", "id": spare[from]["id"], "version": 1, "name": format!("renamed {to}") });
    let named = |n: usize| json!({ "op": "create", "name": format!("renamed {n}"), "role": "support" });
    let bulk = |plane: &str, items: &[Value]| (format!("/v1/{plane}/bulk"), json!({ "items": items }));
    let mut posts = vec![
        bulk("tasks", &forth),
        bulk("tasks", &back),
        bulk("agents", &[rename(14, 1), named(2), rename(15, 3)]),
        bulk("agents", &[named(3), rename(15, 2), named(1)]),
    ];
    for n in 0..12 {
        let agent = &workers[n % 2]["id"];
        posts.push(("/v1/tasks/claim".to_owned(), json!({ "agent_id": agent, "limit": 3 })));
        posts.push(("/v1/tasks".to_owned(), json!({ "agent_id": agent, "title": "single" })));
        posts.push(("/v1/agents".to_owned(), json!({ "name": format!("spare {n}"), "role": "support" })));
    }
    let patches = tasks.iter().map(|task| (at("tasks", task), json!({ "status": "in_progress" }))).collect();
    let gone = tasks[4..12].iter().map(|task| (at("tasks", task), Value::Null));
    let gone = gone.chain(spare[..12].iter().map(|agent| (at("agents", agent), Value::Null))).collect();
    let (posted, patched, gone) = tokio::join!(
        company.all_at_once(Method::POST, posts),
        company.all_at_once(Method::PATCH, patches),
        company.all_at_once(Method::DELETE, gone),
    );
    for answer in posted.iter().chain(&patched).chain(&gone) {
        assert!([200, 201, 204, 207, 402, 404, 409, 429].contains(&answer.status), "{}", answer.text);
    }
    for quota in [("agents", 20), ("tasks", 40), ("concurrent_tasks", 5)] {
        assert!(company.used(quota.0).await <= quota.1, "{quota:?}");
    }
    company.is_exact().await;
}

#[tokio::test]
async fn items_in_bulk_are_refused_one_by_one() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let tasks = [company.task(&agent, "one").await, company.task(&agent, "two").await];
    company.limit(TenantPatch { max_tasks_per_month: Some(Some(3)), ..agents(2) }).await;
    company.limit_running(Some(1)).await;
    let start = |task: &Value| json!({ "op": "update", "id": task["id"], "version": 1, "status": "in_progress" });
    let new = json!({ "op": "create", "agent_id": agent["id"], "title": "new" });
    let items = json!({ "items": [new, start(&tasks[0]), new, start(&tasks[1])] });
    let atomic = json!({ "atomic": true, "items": items["items"] });
    assert_eq!(company.post("/v1/tasks/bulk", atomic).await.verdict(), refusal(422, "bulk_rejected"));
    company.is_exact().await;
    let answer = company.post("/v1/tasks/bulk", items).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    let answer = answer.json();
    let of = |n: usize, member: &str| answer["items"][n]["problem"][member].clone();
    let met: Vec<u64> = (0..4).map(|n| answer["items"][n]["status"].as_u64().unwrap()).collect();
    assert_eq!(met, [201, 200, 402, 429]);
    assert_eq!((of(2, "code"), of(3, "code")), (json!("quota_exceeded"), json!("too_many_running_tasks")));
    assert_eq!((company.used("tasks").await, company.used("concurrent_tasks").await), (3, 1));
    company.is_exact().await;
    let named = |name: &str| json!({ "op": "create", "name": name, "role": "support" });
    let made = company.post("/v1/agents/bulk", json!({ "items": [named("Noor"), named("Otto")] })).await.json();
    assert_eq!((&made["items"][0]["status"], &made["items"][1]["status"]), (&json!(201), &json!(402)));
    company.is_exact().await;
}

#[tokio::test]
async fn work_is_handed_out_as_far_as_there_are_places() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    for n in 0..4 {
        company.task(&agent, &format!("t{n}")).await;
    }
    company.limit_running(Some(3)).await;
    let ask = |limit: u8| json!({ "agent_id": agent["id"], "limit": limit });
    let claimed = async |limit| company.post("/v1/tasks/claim", ask(limit)).await;
    assert_eq!(claimed(1).await.json()["data"].as_array().unwrap().len(), 1);
    let rest = claimed(10).await.json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 2, "as many as there is room for");
    assert_eq!(claimed(1).await.verdict(), refusal(429, "too_many_running_tasks"));
    company.is_exact().await;
    let task = company.get("/v1/tasks?status=pending").await.json()["data"][0].clone();
    assert_eq!(company.delete(&at("tasks", &task)).await.status, 204);
    let nothing = claimed(1).await;
    assert_eq!((nothing.status, &nothing.json()["data"]), (200, &json!([])), "no work is no refusal");
}

/// Fourteen hours before and twelve behind: somewhere else than in UTC the month begins another time.
#[tokio::test]
async fn months_are_those_of_the_companys_time_zone() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    for (version, name) in [(1, "Pacific/Kiritimati"), (2, "Etc/GMT+12"), (3, "Europe/Berlin")] {
        let changed = company.patch("/v1/settings", json!({ "version": version, "time_zone": name })).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let zone: tenantry_core::calendar::Tz = name.parse().unwrap();
        let ends = || tenantry_core::calendar::month_of(Utc::now(), zone).end;
        let mut told = None;
        for _ in 0..500 {
            told = company.get("/v1/usage").await.json()["tasks"]["resets_at"].as_str().map(|at| at.parse().unwrap());
            if told == Some(ends()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(told, Some::<DateTime<Utc>>(ends()), "{name}");
        let before = company.used("tasks").await;
        company.task(&agent, name).await;
        assert_eq!(company.used("tasks").await, before + 1);
    }
}

#[tokio::test]
async fn a_schedule_is_refused_as_its_task_would_be() {
    let company = Company::open().await;
    let agent = company.agent("Mira").await;
    let new = json!({ "agent_id": agent["id"], "name": "daily", "cron_expression": "0 9 * * *",
        "task_template": { "title": "report" } });
    let schedule = at("schedules", &company.make("/v1/schedules", new).await);
    company.task(&agent, "first").await;
    company.limit(TenantPatch { max_tasks_per_month: Some(Some(1)), ..TenantPatch::default() }).await;
    let refused = company.post(&format!("{schedule}/run"), json!({})).await;
    assert_eq!(refused.verdict(), refusal(402, "quota_exceeded"));
    company.is_exact().await;
}
