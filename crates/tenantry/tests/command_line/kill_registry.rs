//! `kill -9` of a server while it changes the registry: repeated with its key, a request has one effect, and the token that
//! nobody stored is told again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::installation::Installation;

/// A server of its own process, killed at the latest with the value.
struct Served {
    child: Child,
    base: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    fn start(installation: &Installation) -> Self {
        let mut child =
            installation.command(&["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = log.find(|line| line.as_ref().unwrap().contains("serving on")).unwrap().unwrap();
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',');
        let base = base.to_owned();
        std::thread::spawn(move || log.for_each(drop));
        Self { child, base }
    }

    /// Sends a request under a key; `None` when no answer comes.
    async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        let request = Client::new().post(format!("{}{path}", self.base)).bearer_auth(token);
        let answer = request.header("idempotency-key", key).json(body).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_request_to_the_registry_has_one_effect_and_one_token() {
    let installation = Installation::prepared().await;
    let created = installation.run(&["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example"]);
    let tenant = created.ok().json()["key"]["token"].as_str().unwrap().to_owned();
    let operator = installation.run(&["-o", "json", "operator", "create", "ada"]).ok().json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let (admin, watcher) =
        (testkit::admin_client(&installation.database).await, testkit::admin_client(&installation.database).await);
    // Where a change waits for the lock of a table, it is killed: before it began, half way, and just before its commit. Without
    // a lock it is killed when it has answered.
    let points = ["public.idempotent_requests", "public.tenant_api_keys", "audit.events", ""];
    for (at, locked) in points.iter().enumerate() {
        let slug = format!("globex-{at}");
        let key = ("/v1/keys", &tenant, json!({ "name": format!("key {at}"), "scopes": ["agents:read"] }));
        let made = ("/admin/v1/tenants", &operator, json!({ "slug": slug, "admin_email": "a@globex.example" }));
        for (path, token, body) in [key, made] {
            let once = format!("{path} {at}");
            let mut served = Served::start(&installation);
            // so that what is asked of the registry before the change does not wait
            let warm = Client::new().get(format!("{}{path}", served.base)).bearer_auth(token).send().await.unwrap();
            assert_eq!(warm.status(), 200);
            let answer = if locked.is_empty() {
                served.post(path, token, &once, &body).await
            } else {
                admin.batch_execute(&format!("BEGIN; LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
                tokio::select! {
                    answer = served.post(path, token, &once, &body) => panic!("answered past the lock of {locked}: {answer:?}"),
                    () = waits(&watcher) => None,
                }
            };
            served.child.kill().unwrap();
            served.child.wait().unwrap();
            if !locked.is_empty() {
                admin.batch_execute("ROLLBACK").await.unwrap();
            }
            let served = Served::start(&installation);
            let again = loop {
                // The session of the killed server may still hold the key for a moment.
                match served.post(path, token, &once, &body).await {
                    Some((503, _)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    other => break other.unwrap(),
                }
            };
            assert_eq!(again.0, 201, "{path} killed at `{locked}`: {}", again.1);
            assert_eq!(answer.unwrap_or_else(|| again.clone()), again, "what was answered is answered again");
            let given = again.1["token"].as_str().or(again.1["api_key"]["token"].as_str()).unwrap();
            let me = Client::new().get(format!("{}/v1/me", served.base)).bearer_auth(given).send().await.unwrap();
            assert_eq!(me.status(), 200, "the token is good");
        }
        let count = async |sql: &str| admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(count(&format!("SELECT count(*) FROM public.tenant_api_keys WHERE name = 'key {at}'")).await, 1);
        assert_eq!(count(&format!("SELECT count(*) FROM public.tenants WHERE slug = '{slug}'")).await, 1);
    }
}

/// Resolves when somebody waits for a lock in this database. In a transaction the server would show the same picture each time.
async fn waits(watcher: &tokio_postgres::Client) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while watcher.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
