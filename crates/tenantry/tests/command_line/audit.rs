//! `audit verify` and `audit export` on an installation.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::admin_client;

use super::Ran;
use super::installation::Installation;

async fn tamper(installation: &Installation, sql: &str) {
    let admin = admin_client(&installation.database).await;
    let sql =
        format!("ALTER TABLE audit.events DISABLE TRIGGER ALL; {sql}; ALTER TABLE audit.events ENABLE TRIGGER ALL");
    admin.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_is_found_and_named() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    let create = run(&["-o", "json", "tenant", "create", "acme", "--admin-email", "a@acme.example"]).ok().json();
    let id = create["id"].as_str().unwrap();
    run(&["tenant", "suspend", "acme"]).ok();
    run(&["tenant", "resume", "acme"]).ok();

    let all = run(&["-o", "json", "audit", "verify", "--write-anchors", "anchors.txt"]).ok().json();
    assert_eq!(
        all,
        json!({ "chains": 2, "events": 4, "flawed": [] }),
        "the tenant's three events and the first operator's"
    );
    let anchors = std::fs::read_to_string(installation.directory.path().join("anchors.txt")).unwrap();
    assert_eq!(anchors.lines().count(), 2, "{anchors}");
    let one = run(&["audit", "verify", "--tenant", "acme"]).ok();
    let head = one.stdout.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned();
    assert!(anchors.contains(&head) && head.starts_with(&format!("{id}:3:")), "{head}\n{anchors}");
    run(&["audit", "verify", "--platform", "--anchors-file", "anchors.txt"]).ok();
    run(&["audit", "verify", "--tenant", "nobody"]).fails(3, "`nobody` does not exist");
    run(&["audit", "verify", "--anchor", "nonsense"]).fails(2, "is not an anchor");
    run(&["audit", "verify", "--anchors-file", "secret"]).fails(2, "line 1");

    // an end that was cut off with its head shows by the anchor alone
    let cut = format!(
        "DELETE FROM audit.events WHERE tenant_id = '{id}' AND seq = 3; UPDATE audit.chains c SET seq = 2, hash = e.hash \
         FROM audit.events e WHERE e.tenant_id = c.chain AND e.seq = 2"
    );
    tamper(&installation, &cut).await;
    run(&["audit", "verify"]).ok();
    run(&["audit", "verify", "--anchors-file", "anchors.txt"]).fails(12, "before event 3, which an anchor knows");
    run(&["audit", "verify", "--tenant", "acme", "--anchor", &head]).fails(12, "before event 3");
    tamper(&installation, &format!("UPDATE audit.events SET actor = 'nobody' WHERE tenant_id = '{id}' AND seq = 2"))
        .await;
    let found = run(&["-o", "json", "audit", "verify"]);
    assert_eq!(found.json()["flawed"][0]["flaw"]["kind"], "changed", "{}", found.stdout);
    assert_eq!(
        (&found.json()["flawed"][0]["chain"], &found.json()["flawed"][0]["flaw"]["seq"]),
        (&json!(id), &json!(2))
    );
    found.fails(12, "1 of 2 chains are not as they were written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_written_out() {
    let installation = Installation::prepared().await;
    let run = |args: &[&str]| installation.run(args);
    for slug in ["acme", "globex"] {
        run(&["tenant", "create", slug, "--admin-email", "a@acme.example"]).ok();
    }
    run(&["tenant", "suspend", "acme"]).ok();
    let export = run(&["audit", "export", "--tenant", "acme"]).ok();
    let lines: Vec<Value> = export.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["seq"], &lines[0]["action"]), (&json!(1), &json!("tenant.create")));
    assert_eq!(lines[0]["details"], serde_json::from_str::<Value>(lines[0]["details_text"].as_str().unwrap()).unwrap());
    assert_eq!(lines[1]["prev_hash"], lines[0]["hash"]);
    let anchor = format!("anchor {}:2:{}", lines[0]["tenant_id"].as_str().unwrap(), lines[1]["hash"].as_str().unwrap());
    assert!(export.stderr.contains(&anchor), "{}", export.stderr);

    let csv = run(&["audit", "export", "--all", "--format", "csv"]).ok();
    let mut rows = csv::Reader::from_reader(csv.stdout.as_bytes());
    assert_eq!(rows.headers().unwrap().iter().next(), Some("tenant_id"));
    assert_eq!(rows.records().count(), 4, "an operator, two creations, a suspension");
    assert_eq!(csv.stderr.matches("anchor ").count(), 3);
    let later = run(&["audit", "export", "--all", "--from", "2999-01-01T00:00:00Z"]).ok();
    assert_eq!(later.stdout, "");
    run(&["audit", "export"]).fails(2, "--all");
    checked_by_the_guide(&installation.directory.path().join("all.jsonl"), &run(&["audit", "export", "--all"]).ok());
}

/// The program of the guide, which uses none of our code, comes to the same hashes.
fn checked_by_the_guide(file: &Path, export: &Ran) {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/audit.md")).unwrap();
    let program = guide.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(file, &export.stdout).unwrap();
    let check = |text: &str| {
        std::fs::write(file, text).unwrap();
        let input = std::fs::File::open(file).unwrap();
        Command::new("python3").args(["-c", program]).stdin(Stdio::from(input)).output()
    };
    // a machine without Python checks the rest
    let Ok(checked) = check(&export.stdout) else { return };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(String::from_utf8_lossy(&checked.stdout).trim(), "3 chains are as they were written");
    let changed = check(&export.stdout.replace("tenant.create", "tenant.update")).unwrap();
    assert!(!changed.status.success(), "and notices a change");
}
