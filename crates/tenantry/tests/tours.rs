//! The tours of the documentation, run as they stand: their code blocks, in their order, against a server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use isolation::server::{Answer, TestServer};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::upstream::Upstream;

/// The blocks of a language in a page, one after another.
fn blocks(page: &str, language: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let start = format!("```{language}\n");
    let blocks = text.split(&start).skip(1).map(|block| block.split("\n```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

/// Runs a tour as a user of acme and globex would, and looks for what it promises, in this order.
async fn takes(mut program: Command, promised: &[&str]) {
    let server = TestServer::start().await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    program.env("ACME", &acme.key).env("GLOBEX", &globex.key);
    let (printed, complaints) = run(&server, program).await;
    let mut rest: &str = &printed;
    for words in promised {
        let Some((_, after)) = rest.split_once(words) else { panic!("`{words}` is not in: {rest}\n{complaints}") };
        rest = after;
    }
}

/// Runs a program against a server, and gives what it has printed and what it has complained of.
async fn run(server: &TestServer, mut program: Command) -> (String, String) {
    program.env("BASE", format!("http://{}", server.address));
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        program.env_remove(proxy);
    }
    let ran = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complaints) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{printed}\n{complaints}");
    (printed, complaints)
}

/// A Python with the official clients of providers, in the versions of `scripts/sdks.txt`.
fn python_with_clients() -> Command {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/sdks/bin/python");
    assert!(python.exists(), "`scripts/setup test` installs the official clients of providers");
    let mut command = Command::new(python);
    // They must not find a credential or an address of the developer's.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OPENAI_") || text.starts_with("ANTHROPIC_") {
            command.env_remove(name);
        }
    }
    command
}

/// A server whose providers are here.
async fn with_providers() -> (TestServer, Upstream) {
    let upstream = Upstream::start().await;
    let server = TestServer::with(|settings| {
        let gateway = &mut settings.metering.gateway;
        gateway.allow_http = true;
        gateway.upstreams.insert("openai".to_owned(), upstream.openai());
        gateway.upstreams.insert("anthropic".to_owned(), upstream.anthropic());
        settings.metering.ship_interval = Duration::from_millis(20);
    })
    .await;
    (server, upstream)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_quick_start_is_true() {
    let (server, _upstream) = with_providers().await;
    let acme = server.tenant("acme").await;
    let mut python = python_with_clients();
    let setting_up = [("OPENAI_ACCOUNT", "sk-good-openai"), ("ANTHROPIC_ACCOUNT", "sk-good-anthropic")];
    python.env("ACME", &acme.key).envs(setting_up).args(["-c", &blocks("gateway.md", "python")]);
    let (printed, complaints) = run(&server, python).await;
    for promised in ["openai says w", "streamed w", "anthropic says w", "refused: 422 no_provider_account"] {
        assert!(printed.contains(promised), "`{promised}` is not in: {printed}\n{complaints}");
    }
}

/// What the official clients see is what is recorded, call by call.
#[tokio::test(flavor = "multi_thread")]
async fn official_clients_see_what_is_recorded() {
    let (server, upstream) = with_providers().await;
    let acme = server.tenant("acme").await;
    for provider in ["openai", "anthropic"] {
        let body = json!({ "provider": provider, "access_token": format!("sk-good-{provider}") });
        assert_eq!(Answer::to(server.by(&acme, Method::POST, "/v1/provider-accounts").json(&body)).await.status, 201);
    }
    let mut python = python_with_clients();
    python.env("ACME", &acme.key).arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdks.py"));
    let (printed, _) = run(&server, python).await;
    let seen: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(seen.len() > 35, "{printed}");

    let admin = server.database.admin().await;
    let sql = "SELECT to_jsonb(c) FROM analytics.provider_api_calls c ORDER BY c.\"timestamp\", c.id";
    let began = std::time::Instant::now();
    let rows: Vec<Value> = loop {
        let rows = admin.query(sql, &[]).await.unwrap();
        if rows.len() >= seen.len() {
            break rows.iter().map(|row| row.get(0)).collect();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{} rows of {}", rows.len(), seen.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(rows.len(), seen.len());
    for (row, seen) in rows.iter().zip(&seen) {
        assert_eq!((&row["operation"], &row["finish"]), (&seen["operation"], &seen["finish"]), "{row:#}\n{seen}");
        if let Some(tokens) = seen["tokens"].as_array() {
            let names = ["tokens_input", "tokens_cache_read", "tokens_output", "tokens_reasoning"];
            assert_eq!(names.map(|name| row[name].clone()).as_slice(), tokens.as_slice(), "{row:#}\n{seen}");
        }
        if seen["attempt"].is_number() {
            assert_eq!(row["attempt"], seen["attempt"], "{row:#}");
        }
    }
    // What no client was told, the provider knows.
    for ran in upstream.log().ran() {
        let row = rows.iter().find(|row| row["provider_request_id"].as_str() == Some(&ran.request_id)).unwrap();
        if row["usage_source"] == "reported" {
            assert_eq!(
                (row["tokens_input"].as_u64(), row["tokens_output"].as_u64()),
                (Some(ran.tokens.input), Some(ran.tokens.output))
            );
        } else {
            assert_eq!((&row["usage_source"], &row["finish"]), (&json!("estimated"), &json!("cut")));
        }
    }
    assert_eq!(upstream.log().keys_seen(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_with_curl_is_true() {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &blocks("tour-curl.md", "sh")]);
    let promised = [
        "agent ",
        "tasks ",
        "Build the walls",
        "in_progress",
        r#""code":"dependencies_not_done""#,
        r#""status":"completed""#,
        "Put up the roof",
        r#""progress_percent":30"#,
        r#""code":"version_conflict""#,
        "one task: ",
        "by Monday",
        r#""code":"version_conflict""#,
        r#""status":"approved""#,
        r#""code":"agent_not_found""#,
        r#""code":"tenant_mismatch""#,
        "event: message.created",
        "event: message.updated",
        r#""status":"approved""#,
    ];
    takes(bash, &promised).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_with_python_is_true() {
    let mut python = Command::new("python3");
    python.args(["-c", &blocks("tour-python.md", "python")]);
    let promised = [
        "claimed: Build the walls",
        "the roof must wait: 409 dependencies_not_done",
        "claimed: Put up the roof",
        "too late: 409 version_conflict it is at 30 percent",
        "with its present version: 200",
        "one task: True",
        "that text was changed meanwhile: 409 version_conflict",
        "draft: approved",
        "globex: agent_not_found",
        "acme at globex: tenant_mismatch",
        "tasks: ['Build the walls', 'Put up the roof', 'Sweep up']",
        "task.created",
        "message.updated",
    ];
    takes(python, &promised).await;
}
