//! `kill -9` of a server at every point between a request and its answer: repeated with its key, it has one effect.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use isolation::proxy::Proxy;
use isolation::through::parts;
use reqwest::Client;
use serde_json::{Value, json};

use super::installation::Installation;

/// A server whose tenants' statements, and nothing else, go through a proxy.
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
    fn start(installation: &Installation, proxy: &Proxy) -> Self {
        let way = format!("postgres://nobody@127.0.0.1:{}/{}?sslmode=disable", proxy.port(), installation.database);
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.env("TENANTRY_POOLER_URL", way).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = log.find(|line| line.as_ref().unwrap().contains("serving on")).unwrap().unwrap();
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',');
        // What it logs from here on is of no interest, but must go somewhere.
        let base = base.to_owned();
        std::thread::spawn(move || log.for_each(drop));
        Self { child, base }
    }

    /// Makes a task under a key; `None` when no answer comes.
    async fn task(&self, token: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        self.post("/v1/tasks", token, key, body).await
    }

    async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        let request = Client::new().post(format!("{}{path}", self.base)).header("x-api-key", token);
        let answer = request.header("idempotency-key", key).json(body).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_request_that_is_repeated_has_one_effect() {
    let installation = Installation::prepared().await;
    let create = ["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example", "--plan", "enterprise"];
    let created = installation.run(&create);
    let token = created.ok().json()["key"]["token"].as_str().unwrap().to_owned();
    let (host, port, ..) = parts(&installation.url);
    let proxy = Proxy::start(&host, port).await;

    let served = Served::start(&installation, &proxy);
    let http = Client::new();
    let agent = json!({ "name": "Mira", "role": "support" });
    let made = http.post(format!("{}/v1/agents", served.base)).header("x-api-key", &token).json(&agent).send().await;
    let agent = made.unwrap().json::<Value>().await.unwrap()["id"].clone();
    drop(served);

    let mut points = 0;
    loop {
        let (key, body) = (format!("k-{points}"), json!({ "agent_id": agent, "title": format!("task {points}") }));
        let mut served = Served::start(&installation, &proxy);
        proxy.hold_after(points);
        let answer = tokio::select! {
            answer = served.task(&token, &key, &body) => answer,
            () = proxy.held() => None,
        };
        served.child.kill().unwrap();
        served.child.wait().unwrap();
        proxy.release();
        let served = Served::start(&installation, &proxy);
        let again = loop {
            // The session of the killed server may still hold the key for a moment.
            match served.task(&token, &key, &body).await {
                Some((503, _)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => break other.unwrap(),
            }
        };
        assert_eq!(again.0, 201, "killed after {points} requests: {}", again.1);
        let tasks = http.get(format!("{}/v1/tasks?limit=200", served.base)).header("x-api-key", &token).send().await;
        let tasks = tasks.unwrap().json::<Value>().await.unwrap();
        let same = |task: &&Value| task["title"] == body["title"];
        let found: Vec<&Value> = tasks["data"].as_array().unwrap().iter().filter(same).collect();
        assert_eq!(found.len(), 1, "killed after {points} requests to the database");
        assert_eq!(*found[0], again.1, "the repetition tells of the task that is there");
        if let Some(answer) = answer {
            assert_eq!(answer, again, "what was answered is answered again");
            break;
        }
        points += 1;
    }
    assert!(points > 4, "killed at {points} points: the proxy saw too little");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bulk_request_that_is_repeated_has_one_effect() {
    let installation = Installation::prepared().await;
    let create = ["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example", "--plan", "enterprise"];
    let created = installation.run(&create);
    let token = created.ok().json()["key"]["token"].as_str().unwrap().to_owned();
    let (host, port, ..) = parts(&installation.url);
    let proxy = Proxy::start(&host, port).await;
    let agents = |points: usize| {
        let new = |name: &str| json!({ "op": "create", "name": format!("{name} {points}"), "role": "support" });
        json!({ "items": [new("one"), new("one"), new("two"), new("three")] })
    };
    let mut points = 1;
    loop {
        let (key, body) = (format!("k-{points}"), agents(points));
        let mut served = Served::start(&installation, &proxy);
        proxy.hold_after(points);
        let answer = tokio::select! {
            answer = served.post("/v1/agents/bulk", &token, &key, &body) => answer,
            () = proxy.held() => None,
        };
        served.child.kill().unwrap();
        served.child.wait().unwrap();
        proxy.release();
        let served = Served::start(&installation, &proxy);
        let again = loop {
            match served.post("/v1/agents/bulk", &token, &key, &body).await {
                Some((503, _)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => break other.unwrap(),
            }
        };
        assert_eq!((again.0, &again.1["succeeded"]), (207, &json!(3)), "killed after {points} requests: {}", again.1);
        let list = format!("{}/v1/agents?limit=200&q=%20{points}&sort=created_at", served.base);
        let found = Client::new().get(list).header("x-api-key", &token).send().await.unwrap();
        let found = found.json::<Value>().await.unwrap();
        let expected = json!([0, 2, 3].map(|i| again.1["items"][i]["record"].clone()));
        assert_eq!(found["data"], expected, "killed after {points} requests to the database");
        if let Some(answer) = answer {
            assert_eq!(answer, again, "what was answered is answered again");
            break;
        }
        points += 4;
    }
    assert!(points > 4, "killed at {points} points: the proxy saw too little");
}
