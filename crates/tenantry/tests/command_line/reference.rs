//! What the program says without a database, and that the committed documents say the same.

use std::path::PathBuf;

use super::{Ran, tenantry};

fn run(args: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    Ran::of(&tenantry(directory.path()).args(args).output().unwrap())
}

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Compares a document with what the program prints; with TENANTRY_UPDATE_DOCS=1 it is written instead.
#[track_caller]
fn same(name: &str, printed: &str) {
    let path = document(name);
    if std::env::var_os("TENANTRY_UPDATE_DOCS").is_some() {
        std::fs::write(&path, printed).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == printed, "docs/{name} is not what the program prints: `make docs` writes it anew");
}

#[test]
fn the_error_reference_is_current() {
    same("errors.md", &run(&["errors"]).ok().stdout);
}

#[test]
fn the_openapi_document_is_current() {
    same("openapi.json", &run(&["openapi"]).ok().stdout);
}

#[test]
fn the_command_reference_is_current() {
    let mut page =
        String::from("# The command line\n\nWhat `--help` prints, command by command. `make docs` writes this page.\n");
    for command in [
        "",
        "dev",
        "init",
        "doctor",
        "serve",
        "migrate",
        "migrate new",
        "migrate up",
        "migrate plan",
        "migrate lint",
        "migrate drift",
        "migrate down",
        "migrate status",
        "migrate history",
        "tenant",
        "tenant create",
        "tenant list",
        "tenant usage",
        "tenant update",
        "tenant delete",
        "tenant purge",
        "tenant import",
        "tenant warm",
        "key",
        "key create",
        "key list",
        "key limit",
        "key revoke",
        "member",
        "member list",
        "member add",
        "member set-role",
        "member remove",
        "prices",
        "prices list",
        "prices show",
        "prices check",
        "prices load",
        "metering",
        "metering verify",
        "metering replay",
        "metering health",
        "metering costs",
        "metering unpriced",
        "metering bill",
        "metering bill import",
        "metering bill list",
        "metering reconcile",
        "metering reprice",
        "metering close",
        "metering statement",
        "plan",
        "plan list",
        "plan create",
        "plan update",
        "plan delete",
        "quota",
        "quota verify",
        "operator",
        "operator create",
        "operator list",
        "operator revoke",
        "api",
        "api agents",
        "api agents list",
        "api agents get",
        "api agents create",
        "api agents update",
        "api agents delete",
        "api agents do",
        "api events",
        "api call",
        "audit",
        "audit verify",
        "audit export",
        "secrets",
        "secrets new-key",
        "secrets status",
        "secrets rotate",
    ] {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = run(&words).ok().stdout;
        let help = if command.is_empty() { help.as_str() } else { help.split("\nCommon options:").next().unwrap() };
        let help = if command.starts_with("api ") { help.split("\nConnection:").next().unwrap() } else { help };
        let title = format!("tenantry {command}");
        page.push_str(&format!("\n## {}\n\n```text\n{}\n```\n", title.trim(), help.trim_end()));
    }
    same("cli.md", &page);
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    run(&["tenant", "list"]).fails(2, "hint: pass `--database-url`");
    run(&["tenant", "create", "acme"]).fails(2, "--admin-email");
    run(&["--database-url", "postgres://127.0.0.1:1/x", "tenant", "list"]).fails(2, "--secret-file");
    run(&["--config", "no-such.toml", "openapi"]).fails(2, "cannot read the settings file `no-such.toml`");
    run(&["--log", "===", "openapi"]).fails(2, "is not a log filter");
    run(&["api", "agents", "list"]).fails(2, "hint: pass TENANTRY_API_KEY");
    run(&["api", "--api-key", "k", "agents", "list"]).fails(2, "hint: pass `--url`");
    run(&["api", "--demo", "acme", "agents", "list"]).fails(2, "hint: start `tenantry dev`");
    run(&["api", "--url", "ftp://x", "--api-key", "k", "agents", "list"]).fails(2, "is no base URL");
    run(&["api", "--url", "http://x", "--api-key", "k", "agents", "create", "name"]).fails(2, "is no field");
    run(&["api", "--url", "http://x", "--api-key", "k", "agents", "get", "../tasks"]).fails(2, "is no id");
    run(&["dev", "--listen", "nonsense"]).fails(2, "cannot listen on `nonsense`");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(&["dev", "--listen", &address]).fails(2, "hint: pass another one with `--listen`");
}

#[test]
fn a_wrong_settings_file_names_the_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tenantry.toml"), "[http]\nbody_limits = 3\n").unwrap();
    let ran = Ran::of(&tenantry(directory.path()).arg("openapi").output().unwrap());
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("body_limits"), "{}", ran.stderr);
    ran.fails(2, "`tenantry.toml` is not valid");
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let ran = run(&["-o", "json", "tenant", "list"]);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["exit_code"], 2);
    assert!(error["hint"].is_string());
}
