//! The tours of the documentation, run as they stand: their code blocks, in their order, against a server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::Command;

use isolation::server::TestServer;

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
    program.env("BASE", format!("http://{}", server.address)).env("ACME", &acme.key).env("GLOBEX", &globex.key);
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        program.env_remove(proxy);
    }
    let ran = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    let (printed, complaints) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{printed}\n{complaints}");
    let mut rest: &str = &printed;
    for words in promised {
        let Some((_, after)) = rest.split_once(words) else { panic!("`{words}` is not in: {rest}\n{complaints}") };
        rest = after;
    }
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
