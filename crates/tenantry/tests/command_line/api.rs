//! `tenantry api` against a server: what a tenant's developer types.

use std::io::Write as _;
use std::process::Stdio;

use isolation::server::{Tenant, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, tenantry};

struct Shell {
    directory: TempDir,
    url: String,
}

impl Shell {
    fn new(server: &TestServer) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), url: format!("http://{}", server.address) }
    }

    async fn run(&self, tenant: &Tenant, args: &[&str]) -> Ran {
        self.fed(tenant, args, "").await
    }

    async fn fed(&self, tenant: &Tenant, args: &[&str], input: &'static str) -> Ran {
        let mut command = tenantry(self.directory.path());
        command
            .env("TENANTRY_URL", &self.url)
            .env("TENANTRY_API_KEY", &tenant.key)
            .args(["-o", "json", "api"])
            .args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // one that does not read it may have ended
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        Ran::of(&ran.await.unwrap())
    }

    async fn json(&self, tenant: &Tenant, args: &[&str]) -> Value {
        self.run(tenant, args).await.ok().json()
    }
}

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developers_day() {
    let server = TestServer::start().await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    let shell = Shell::new(&server);

    let mira = shell.json(&acme, &["agents", "create", "name=Mira", "role=support", "capabilities:=[\"mail\"]"]).await;
    assert_eq!(mira["capabilities"], json!(["mail"]));
    assert_eq!(shell.json(&acme, &["agents", "get", id(&mira)]).await, mira);
    let agent = format!("agent_id={}", id(&mira));
    for title in ["title=First", "title=Second", "title=Third"] {
        shell.json(&acme, &["tasks", "create", &agent, title]).await;
    }
    let some = shell.run(&acme, &["tasks", "list", "sort=title", "--limit", "2"]).await.ok();
    assert!(some.stderr.contains("there are more than these 2"), "{}", some.stderr);
    let titles = |tasks: &Value| tasks.as_array().unwrap().iter().map(|task| task["title"].clone()).collect::<Vec<_>>();
    assert_eq!(titles(&some.json()), ["First", "Second"]);
    assert_eq!(titles(&shell.json(&acme, &["tasks", "list", "--all", &agent]).await).len(), 3);
    let claimed = shell.json(&acme, &["tasks", "do", "claim", &agent]).await;
    let task = &claimed["data"][0];

    let done = ["tasks", "update", id(task), "status=completed", "result:={\"ok\":true}"];
    shell.run(&acme, &done).await.fails(2, "--if-version");
    let done = [&done[..], &["--if-version", "2"]].concat();
    assert_eq!(shell.json(&acme, &done).await["result"], json!({ "ok": true }));
    shell.run(&acme, &done).await.fails(4, "it is at version 3 now");
    shell.run(&acme, &["tasks", "delete", id(task), "--if-version", "3"]).await.ok();
    shell.run(&acme, &["tasks", "get", id(task)]).await.fails(3, "task_not_found");

    // bodies from elsewhere, and one effect under one key
    let body = r#"{"name":"Nadia","role":"analyst"}"#;
    let nadia =
        shell.fed(&acme, &["agents", "create", "--data", "-", "role=sales", "--idempotency-key", "k1"], body).await;
    let nadia = nadia.ok().json();
    assert_eq!(nadia["role"], "sales");
    std::fs::write(shell.directory.path().join("nadia.json"), r#"{"name":"Nadia","role":"sales"}"#).unwrap();
    let again = shell.json(&acme, &["agents", "create", "--data", "@nadia.json", "--idempotency-key", "k1"]).await;
    assert_eq!(again, nadia);
    shell.run(&acme, &["agents", "create", "name=", "role=x"]).await.fails(2, "/name");

    let draft = ["messages", "create", "type=external_draft", "external_recipient=ines@customer.example", "body=Hello"];
    let from = format!("from_agent_id={}", id(&mira));
    let draft = shell.json(&acme, &[&draft[..], &[&from]].concat()).await;
    let approved = shell.json(&acme, &["messages", "do", "approve", "--id", id(&draft), "version:=1"]).await;
    assert_eq!(approved["status"], "approved");
    assert_eq!(shell.json(&acme, &["plan"]).await["tier"], "enterprise");
    assert_eq!(shell.json(&acme, &["usage"]).await["agents"]["used"], 2);
    let export = shell.run(&acme, &["export", "rows=days", "format=csv"]).await.ok();
    assert!(export.stdout.starts_with("day,") && export.stdout.lines().count() == 1, "{}", export.stdout);
    shell.run(&acme, &["export", "format=parquet"]).await.fails(2, "invalid_query");
    let page = shell.json(&acme, &["call", "GET", "/v1/agents?limit=1"]).await;
    assert_eq!(page["data"].as_array().unwrap().len(), 1);

    // another company, no company, no server
    shell.run(&globex, &["agents", "get", id(&mira)]).await.fails(3, "agent_not_found");
    let stranger = Tenant { key: "tnk_0000000000000000_x".into(), ..acme.clone() };
    shell.run(&stranger, &["agents", "list"]).await.fails(13, "the key is wrong");
    let nowhere = Shell { url: "http://127.0.0.1:1".into(), ..shell };
    nowhere.run(&acme, &["agents", "list"]).await.fails(14, "does the server run");
}
