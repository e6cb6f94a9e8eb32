//! `init` and everything after it on an existing server.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::{SECRET, alone, url_for};

use super::{Ran, tenantry};

pub(super) struct Installation {
    pub(super) directory: TempDir,
    pub(super) url: String,
    pub(super) database: String,
}

impl Installation {
    /// An empty database on the test server.
    async fn empty() -> Self {
        Self::on(&url_for("postgres")).await
    }

    /// An empty database on the server that a superuser's URL leads to.
    pub(super) async fn on(server: &str) -> Self {
        let database = format!("cli_{}", uuid::Uuid::new_v4().simple());
        let (admin, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        admin.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), SECRET).unwrap();
        let base = server.split('?').next().and_then(|url| url.rsplit_once('/')).unwrap().0;
        Self { directory, url: format!("{base}/{database}?sslmode=disable"), database }
    }

    /// One that `init` has prepared.
    pub(super) async fn prepared() -> Self {
        let installation = Self::empty().await;
        let others = alone().await;
        installation.run(&["init"]).ok();
        drop(others);
        installation
    }

    pub(super) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = tenantry(self.directory.path());
        command.args(["--secret-file", "secret", "--database-url", &self.url]).args(args);
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// A server on it. Without a superuser: the user of the URL is not used at run time.
    pub(super) fn serve(&self) -> Served {
        let url = format!("postgres://{}", self.url.rsplit_once('@').unwrap().1);
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process = command.env("DATABASE_URL", &url).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("serving on")).unwrap().unwrap();
        assert!(line.contains(&self.database), "{line}");
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',');
        let base = base.to_owned();
        // Or the server would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Served { process, base }
    }
}

/// A running server, killed at the end.
pub(super) struct Served {
    process: Child,
    /// Where it serves.
    pub(super) base: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn init_is_repeatable_and_gives_one_operator() {
    let installation = Installation::empty().await;
    installation.run(&["tenant", "list"]).fails(6, "run `tenantry init`");
    installation.run(&["serve", "--listen", "127.0.0.1:0"]).fails(6, "run `tenantry init`");
    let others = alone().await;
    let first = installation.run(&["-o", "json", "init"]).ok().json();
    let second = installation.run(&["-o", "json", "init"]).ok().json();
    drop(others);
    let files = |set: &str| {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(set);
        std::fs::read_dir(directory).unwrap().count()
    };
    assert_eq!(first["migrations_applied"].as_array().unwrap().len(), files("registry") + files("analytics"));
    assert!(first["operator_token"].as_str().unwrap().starts_with("top_"));
    assert_eq!(second["migrations_applied"], serde_json::json!([]));
    assert!(second["operator_token"].is_null(), "the first token stays the only one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_life_at_the_command_line() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    let create = ["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example", "--plan", "starter"];
    let created = run(&create).ok().json();
    assert_eq!((created["schema_name"].as_str(), created["status"].as_str()), (Some("tenant_acme"), Some("active")));
    assert!(created["key"]["token"].as_str().unwrap().starts_with("tnk_"));
    run(&create).fails(4, "`acme` exists already");
    run(&["tenant", "create", "www", "--admin-email", "a@b.example"]).fails(2, "reserved");
    run(&["tenant", "create", "x", "--admin-email", "nobody"]).fails(2, "e-mail");
    run(&["tenant", "create", "x", "--admin-email", "a@b.example", "--plan", "gold"]).fails(2, "plan `gold`");
    run(&["tenant", "show", "nobody"]).fails(3, "`nobody` does not exist");

    let updated = run(&["-o", "json", "tenant", "update", "acme", "--max-agents", "7", "--domain", "crm.acme.example"]);
    assert_eq!(updated.ok().json()["max_agents"], 7);
    run(&["tenant", "update", "acme"]).fails(2, "nothing to change");
    assert!(run(&["tenant", "list"]).ok().stdout.contains("acme"));
    assert_eq!(run(&["-o", "json", "tenant", "list", "--status", "suspended"]).ok().json(), serde_json::json!([]));

    let key = run(&["-o", "json", "key", "create", "acme", "--name", "ci", "--expires-at", "2999-01-01T00:00:00Z"]);
    let id = key.ok().json()["id"].as_str().unwrap().to_owned();
    run(&["key", "create", "acme", "--expires-at", "2001-01-01T00:00:00Z"]).fails(2, "in the past");
    run(&["key", "revoke", "acme", &id]).fails(5, "--yes");
    assert!(run(&["-o", "json", "key", "revoke", "acme", &id, "--yes"]).ok().json()["revoked_at"].is_string());
    run(&["key", "revoke", "acme", "00000000-0000-0000-0000-000000000000", "--yes"]).fails(3, "does not exist");
    run(&["key", "revoke", "acme", "x", "--yes"]).fails(2, "is not a valid api key id");
    assert_eq!(run(&["-o", "json", "key", "list", "acme"]).ok().json().as_array().unwrap().len(), 2);

    run(&["tenant", "suspend", "acme"]).ok();
    assert_eq!(run(&["-o", "json", "tenant", "resume", "acme"]).ok().json()["status"], "active");
    run(&["tenant", "purge", "acme", "--yes"]).fails(4, "it is active, not deleted");
    run(&["tenant", "delete", "acme"]).fails(5, "--yes");
    run(&["tenant", "delete", "acme", "--yes"]).ok();
    run(&["tenant", "suspend", "acme"]).fails(4, "is deleted and cannot become suspended");
    run(&["tenant", "purge", "acme", "--yes"]).fails(4, "--ignore-grace");
    assert_eq!(run(&["-o", "json", "tenant", "restore", "acme"]).ok().json()["status"], "active");
    run(&["tenant", "delete", "acme", "--yes"]).ok();
    assert_eq!(run(&["-o", "json", "tenant", "purge", "--expired", "--yes"]).ok().json(), serde_json::json!([]));
    run(&["tenant", "purge", "acme", "--yes", "--ignore-grace"]).ok();
    run(&["tenant", "show", "acme"]).fails(3, "does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_come_and_go() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    assert!(
        run(&["-o", "json", "operator", "create", "nina"]).ok().json()["token"].as_str().unwrap().starts_with("top_")
    );
    run(&["operator", "create", "nina"]).fails(4, "exists already");
    run(&["operator", "revoke", "nina"]).fails(5, "--yes");
    run(&["operator", "revoke", "nobody", "--yes"]).fails(3, "does not exist");
    run(&["operator", "revoke", "nina", "--yes"]).ok();
    let listed = run(&["-o", "json", "operator", "list"]).ok().json();
    let nina = listed.as_array().unwrap().iter().find(|operator| operator["name"] == "nina").unwrap();
    assert!(nina["revoked_at"].is_string() && nina.get("token").is_none(), "{nina}");
    assert_eq!(listed.as_array().unwrap().len(), 2, "the first operator and nina: {listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_answers_and_ends_in_good_order() {
    let installation = Installation::prepared().await;
    let acme = installation.run(&["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example"]);
    let key = acme.ok().json()["key"]["token"].as_str().unwrap().to_owned();
    let mut served = installation.serve();
    let base = &served.base;
    let http = reqwest::Client::new();
    assert_eq!(http.get(format!("{base}/ready")).send().await.unwrap().status(), 200);
    let listed = http.get(format!("{base}/v1/agents")).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(listed.status(), 200);
    installation.run(&["tenant", "suspend", "acme"]).ok();
    let refused = async || {
        let answer = http.get(format!("{base}/v1/agents")).header("x-api-key", &key).send().await.unwrap();
        answer.status() == 403
    };
    while !refused().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    kill_process(Pid::from_raw(served.process.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(served.process.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told() {
    let installation = Installation::prepared().await;
    std::fs::write(installation.directory.path().join("other"), "another secret, long enough to be one").unwrap();
    let args = ["--secret-file", "other", "--database-url", &installation.url, "serve", "--listen", "127.0.0.1:0"];
    Ran::of(&tenantry(installation.directory.path()).args(args).output().unwrap()).fails(6, "is the secret the one");
    let args = ["--secret-file", "other", "--database-url", &installation.url, "init"];
    Ran::of(&tenantry(installation.directory.path()).args(args).output().unwrap())
        .fails(2, "is not the one of the server");
    let args = ["--secret-file", "none", "--database-url", &installation.url, "init"];
    Ran::of(&tenantry(installation.directory.path()).args(args).output().unwrap())
        .fails(2, "there is no secret in `none`");
    assert!(!installation.directory.path().join("none").exists(), "and none was made");
    std::fs::write(installation.directory.path().join("short"), "short").unwrap();
    let args = ["--secret-file", "short", "--database-url", &installation.url, "tenant", "list"];
    Ran::of(&tenantry(installation.directory.path()).args(args).output().unwrap()).fails(2, "at least 32 characters");
}
