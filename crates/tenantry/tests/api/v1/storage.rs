//! Storage: measured, warned of, frozen, and thawed again.

use std::time::Duration;

use isolation::server::{Answer, TestServer, actor};
use reqwest::Method;
use serde_json::{Value, json};
use tenantry::QuotaWatch;
use tenantry_postgres::TenantPatch;

use crate::company::{Company, at, refusal};

impl Company {
    async fn measure(&self) -> tenantry_postgres::Measured {
        QuotaWatch::new(&self.server.state, Duration::ZERO).once().await.unwrap()
    }

    async fn patch_tenant(&self, patch: TenantPatch) {
        self.server.state.provisioner.update(&self.tenant.slug, &patch, &actor()).await.unwrap();
    }

    /// What the tenant was warned of: quota, threshold and percent.
    async fn warnings(&self) -> Vec<(String, i64, f64)> {
        let sql = format!("SELECT data FROM {}.events WHERE kind = 'quota.warning' ORDER BY id", self.tenant.schema);
        let rows = self.server.database.admin().await.query(&sql, &[]).await.unwrap();
        let warning = |data: Value| {
            let text = data["quota_type"].as_str().unwrap().to_owned();
            (text, data["threshold"].as_i64().unwrap(), data["percent"].as_f64().unwrap())
        };
        rows.iter().map(|row| warning(row.get(0))).collect()
    }
}

fn storage(limit: Option<i32>) -> TenantPatch {
    TenantPatch { storage_limit_gb: Some(limit), ..TenantPatch::default() }
}

fn new_agent(name: &str) -> Value {
    json!({ "name": name, "role": "support" })
}

/// Waits for an answer that comes within a second.
async fn within_a_second(what: &str, status: u16, ask: impl AsyncFn() -> Answer) -> Answer {
    let began = std::time::Instant::now();
    loop {
        let answer = ask().await;
        if answer.status == status {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{what}: {} {}", answer.status, answer.text);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_tenant_reads_deletes_and_revokes_and_adds_nothing() {
    let company = Company::open().await;
    let other = TestServer::on(company.server.database.clone(), |_| {}).await;
    let neighbour = company.server.tenant("globex").await;
    let (mira, otto) = (company.agent("Mira").await, company.agent("Otto").await);
    let account = json!({ "provider": "openai", "name": "Main", "access_token": "sk-that-leaked" });
    let account = at("provider-accounts", &company.make("/v1/provider-accounts", account).await);
    let measured = company.measure().await;
    assert_eq!((measured.tenants, measured.frozen.len(), measured.failed.len()), (2, 0, 0));
    let usage = company.get("/v1/usage").await.json();
    assert!(usage["storage"]["used_bytes"].as_i64().unwrap() > 100_000, "{usage}");
    assert_eq!((&usage["storage"]["frozen"], &usage["storage"]["limit_bytes"]), (&json!(false), &Value::Null));

    // Nothing is less than zero gibibytes, so the tenant is full as soon as the server hears of the limit.
    company.patch_tenant(storage(Some(0))).await;
    let add = |server: &TestServer| {
        Answer::to(server.by(&company.tenant, Method::POST, "/v1/agents").json(&new_agent("late")))
    };
    for server in [&company.server, &other] {
        let refused = within_a_second("the limit is heard", 402, async || add(server).await).await;
        assert_eq!(refused.verdict(), refusal(402, "storage_frozen"));
        assert_eq!(refused.json()["limit_name"], "storage_limit_gb");
    }
    let change = company.patch_if(&at("agents", &mira), "\"1\"", json!({ "role": "sales" })).await;
    assert_eq!(change.verdict(), refusal(402, "storage_frozen"));
    assert_eq!(company.get(&at("agents", &mira)).await.status, 200);
    assert_eq!(company.delete(&at("agents", &otto)).await.status, 204);
    let rotated = company.post(&format!("{account}/rotate"), json!({ "access_token": "sk-fresh" })).await;
    assert_eq!(rotated.verdict(), refusal(402, "storage_frozen"));
    for _ in 0..2 {
        let revoke = company.server.by(&company.tenant, Method::POST, &format!("{account}/revoke"));
        let revoked = Answer::to(revoke.header("idempotency-key", "leaked")).await;
        assert_eq!((revoked.status, &revoked.json()["status"]), (200, &json!("revoked")), "{}", revoked.text);
    }
    assert_eq!(company.delete(&account).await.status, 204);
    assert_eq!(company.get("/v1/usage").await.json()["storage"]["frozen"], true);
    assert!(company.server.state.tenancy.counters().frozen_writes() >= 2);
    let theirs = Answer::to(company.server.by(&neighbour, Method::POST, "/v1/agents").json(&new_agent("first"))).await;
    assert_eq!(theirs.status, 201, "a neighbour does not notice: {}", theirs.text);

    let measured = company.measure().await;
    assert_eq!((measured.frozen.len(), measured.thawed.len()), (1, 0));
    assert_eq!(company.measure().await.frozen.len(), 0, "it is said once");
    // More storage thaws at once, without another measurement.
    company.patch_tenant(storage(Some(1))).await;
    for server in [&company.server, &other] {
        within_a_second("the new limit is heard", 201, async || {
            let name = format!("on {}", server.address);
            Answer::to(server.by(&company.tenant, Method::POST, "/v1/agents").json(&new_agent(&name))).await
        })
        .await;
    }
    assert_eq!(company.measure().await.thawed.len(), 1);
    let sql = "SELECT action FROM audit.events WHERE action LIKE 'tenant.storage%' ORDER BY id";
    let rows = company.server.database.admin().await.query(sql, &[]).await.unwrap();
    let actions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(actions, ["tenant.storage_frozen", "tenant.storage_thawed"]);
    other.stop().await;
}

/// A freeze that the measurement decides reaches every server, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_was_measured_is_heard_within_a_second() {
    let company = Company::open().await;
    assert_eq!(company.post("/v1/agents", new_agent("first")).await.status, 201);
    let admin = company.server.database.admin().await;
    let grown = "INSERT INTO public.tenant_usage (tenant_id, storage_bytes, frozen) \
                 SELECT id, 3 * 1073741824::bigint, false FROM public.tenants WHERE slug = 'acme'";
    admin.batch_execute(grown).await.unwrap();
    company.patch_tenant(storage(Some(4))).await;
    // 98 %: not frozen yet; 100 %: frozen; 96 %: still; below 95 %: thawed.
    for (gigabytes, frozen) in [("3.9", false), ("4.0", true), ("3.85", true), ("3.79", false), ("3.9", false)] {
        let sql = format!(
            "UPDATE public.tenant_usage SET storage_bytes = {gigabytes} * 1073741824, \
             frozen = tenantry.storage_frozen(({gigabytes} * 1073741824)::bigint, 4, frozen)"
        );
        admin.batch_execute(&sql).await.unwrap();
        let status = if frozen { 402 } else { 201 };
        within_a_second(gigabytes, status, async || {
            company.post("/v1/agents", new_agent(&uuid::Uuid::new_v4().to_string())).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_threshold_is_warned_of_once() {
    let company = Company::open().await;
    company.patch_tenant(TenantPatch { max_agents: Some(Some(10)), ..TenantPatch::default() }).await;
    let mut agents = Vec::new();
    for n in 0..7 {
        agents.push(company.agent(&format!("agent {n}")).await);
    }
    company.measure().await;
    assert_eq!(company.warnings().await, []);
    agents.push(company.agent("the eighth").await);
    company.measure().await;
    company.measure().await;
    let eighty = ("agents".to_owned(), 80, 80.0);
    assert_eq!(company.warnings().await, std::slice::from_ref(&eighty));
    agents.push(company.agent("the ninth").await);
    agents.push(company.agent("the tenth").await);
    company.measure().await;
    let hundred = ("agents".to_owned(), 100, 100.0);
    assert_eq!(company.warnings().await, [eighty.clone(), hundred.clone()]);
    // back to 80 % and up again: within the slack of 90 % nothing is said anew; from 70 % on it is
    for agent in &agents[..3] {
        assert_eq!(company.delete(&at("agents", agent)).await.status, 204);
    }
    company.measure().await;
    company.agent("an eighth again").await;
    company.measure().await;
    assert_eq!(company.warnings().await, [eighty.clone(), hundred, eighty]);
    let told = company.measure().await;
    assert_eq!(told.notices, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_measures_by_itself() {
    let server = TestServer::with(|settings| settings.quotas.measure_interval = Duration::from_millis(20)).await;
    let tenant = server.tenant("acme").await;
    for _ in 0..500 {
        let usage = Answer::to(server.by(&tenant, Method::GET, "/v1/usage")).await.json();
        if usage["storage"]["used_bytes"].is_i64() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing is measured");
}
