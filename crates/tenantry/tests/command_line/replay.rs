//! A trace replayed over many tenants comes to what an independent computation says, to the last digit, and every sum says the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use testkit::admin_client;

use super::installation::Installation;

const MODELS: &str =
    "openai/gpt-4o,openai/gpt-4o-mini,anthropic/claude-sonnet-4-5,google/gemini-2.5-flash,openai_codex/codex";

/// The trace that TENANTRY_TRACE names, or one of the same shape: pauses and lengths that vary by orders of magnitude.
fn trace(directory: &Path) -> PathBuf {
    if let Some(path) = std::env::var_os("TENANTRY_TRACE").map(PathBuf::from).filter(|path| path.exists()) {
        return path;
    }
    let path = directory.join("trace.csv");
    std::fs::write(&path, made(2000, 1_800)).unwrap();
    path
}

/// So many lines, over so many seconds.
fn made(lines: u64, seconds: u64) -> String {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    let mut state = 42_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for line in 0..lines {
        // in tenths of a microsecond, as the real one has them
        let at = line * seconds * 10_000_000 / lines + random() % 1_000;
        let (whole, fraction) = (at / 10_000_000, at % 10_000_000);
        let (input, output) = (1 + random() % (1 << (3 + random() % 11)), 1 + random() % (1 << (1 + random() % 9)));
        let (hour, minute, second) = (whole / 3600, whole / 60 % 60, whole % 60);
        text.push_str(&format!("2023-11-16 {:02}:{minute:02}:{second:02}.{fraction:07},{input},{output}\n", 18 + hour));
    }
    text
}

fn expected(trace: &Path, tenants: &str, seed: &str, start: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("python3")
        .arg(root.join("scripts/replay_totals.py"))
        .arg(trace)
        .args(["--tenants", tenants, "--models", MODELS, "--seed", seed, "--start", start, "--catalogue"])
        .arg(root.join("crates/metering/catalogue"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a table of the database has, in the form of the independent computation.
async fn summed(installation: &Installation, table: &str) -> Value {
    let (calls, cost) =
        if table == "provider_api_calls" { ("count(*)", "cost_usd") } else { ("sum(total_calls)", "cost_usd") };
    let sql = format!(
        "SELECT json_agg(t) FROM (SELECT t.slug AS tenant, provider, model, {calls}::bigint AS calls, sum(tokens_input)::bigint AS tokens_input, \
           sum(tokens_output)::bigint AS tokens_output, sum({cost})::text AS cost_usd \
         FROM analytics.{table} m JOIN public.tenants t ON t.id = m.tenant_id GROUP BY 1, 2, 3 \
         ORDER BY t.slug::text COLLATE \"C\", provider COLLATE \"C\", model COLLATE \"C\") t"
    );
    admin_client(&installation.database).await.query_one(&sql, &[]).await.unwrap().get(0)
}

/// What pages and exports tell two of the tenants is what the independent computation says of them.
async fn pages_say(installation: &Installation, truth: &Value, start: &str) {
    let server = installation.serve();
    let first: DateTime<Utc> = start.parse().unwrap();
    let period = format!("from={}&to={}", first.date_naive(), (first + TimeDelta::days(1)).date_naive());
    for slug in ["replay-01", "replay-20"] {
        let mut expected: Vec<Value> = truth.as_array().unwrap().clone();
        expected.retain(|total| total["tenant"] == slug);
        let key = installation.run(&["-o", "json", "key", "create", slug, "--name", "pages"]).ok().json();
        let key = key["token"].as_str().unwrap().to_owned();
        let ask = async |path: &str| {
            let url = format!("{}/v1/analytics/{path}&{period}", server.base);
            let answer = reqwest::Client::new().get(url).header("x-api-key", &key).send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, 200, "{path}: {text}");
            text
        };
        let sum = |rows: &[Value], member: &str| rows.iter().map(|row| amount(&row[member])).sum::<i128>();

        let usage: Value = serde_json::from_str(&ask("usage?group_by=model&limit=50").await).unwrap();
        let mut groups: Vec<Value> = usage["groups"].as_array().unwrap().clone();
        groups.sort_by_key(|group| (group["provider"].to_string(), group["key"].to_string()));
        assert_eq!(groups.len(), expected.len(), "{slug}");
        for (group, total) in groups.iter().zip(&expected) {
            let told = &group["total"];
            assert_eq!((&group["provider"], &group["key"]), (&total["provider"], &total["model"]));
            assert_eq!((&told["calls"], amount(&told["cost_usd"])), (&total["calls"], amount(&total["cost_usd"])));
            let tokens = (&told["tokens"]["input"], &told["tokens"]["output"]);
            assert_eq!(tokens, (&total["tokens_input"], &total["tokens_output"]));
        }

        let summary: Value = serde_json::from_str(&ask("cost-summary?").await).unwrap();
        assert_eq!(amount(&summary["total"]["cost_usd"]), sum(&expected, "cost_usd"), "{summary}");

        for rows in ["calls", "days"] {
            let lines = ask(&format!("export?format=jsonl&rows={rows}")).await;
            let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            for total in &expected {
                let mut own = lines.clone();
                own.retain(|line| line["provider"] == total["provider"] && line["model"] == total["model"]);
                assert_eq!(sum(&own, "cost_usd"), amount(&total["cost_usd"]), "{slug} {rows} {total}");
            }
            assert_eq!(sum(&lines, "cost_usd"), sum(&expected, "cost_usd"), "{slug} {rows}");
        }
    }
}

/// An amount in units of its twelfth and last digit.
fn amount(text: &Value) -> i128 {
    let text = text.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 12, "{text}");
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_to_what_an_independent_computation_says() {
    let installation = Installation::prepared().await;
    let trace = trace(installation.directory.path());
    let file = trace.to_str().unwrap();
    let replay = [
        "-o",
        "json",
        "metering",
        "replay",
        file,
        "--tenants",
        "20",
        "--models",
        MODELS,
        "--agents",
        "3",
        "--seed",
        "7",
    ];
    let first = installation.run(&replay).ok();
    assert!(first.stderr.contains("made 20 tenants"), "{}", first.stderr);
    let first = first.json();
    let calls = first["calls"].as_i64().unwrap();
    assert_eq!((&first["new"], &first["repeated"], &first["rejected"]), (&json!(calls), &json!(0), &json!(0)));

    let slugs: Vec<String> = (1..=20).map(|n| format!("replay-{n:02}")).collect();
    let truth = expected(&trace, &slugs.join(","), "7", first["start"].as_str().unwrap());
    assert_eq!(truth.as_array().unwrap().iter().map(|total| total["calls"].as_i64().unwrap()).sum::<i64>(), calls);
    for table in ["provider_api_calls", "hourly_metrics"] {
        assert_eq!(summed(&installation, table).await, truth, "{table}");
    }

    let verify = |args: &[&str]| installation.run(&[&["-o", "json", "metering", "verify"], args].concat());
    let clean = verify(&[]).ok().json();
    assert_eq!(
        (&clean["calls"], &clean["marked_hours"], &clean["differences"]),
        (&json!(calls), &json!(0), &json!([]))
    );

    pages_say(&installation, &truth, first["start"].as_str().unwrap()).await;

    // again: nothing changes
    let second = installation.run(&replay).ok().json();
    assert_eq!((&second["new"], &second["repeated"], &second["start"]), (&json!(0), &json!(calls), &first["start"]));
    assert_eq!((&second["totals"], &second["hours"]), (&first["totals"], &json!(0)));
    assert_eq!(summed(&installation, "provider_api_calls").await, truth);
    assert_eq!(verify(&[]).ok().json()["cost_usd"], clean["cost_usd"]);

    // a digit is found, shown and mended
    let admin = admin_client(&installation.database).await;
    let digit = "UPDATE analytics.daily_metrics SET total_cost_usd = total_cost_usd + 0.000000000001 \
        WHERE id = (SELECT d.id FROM analytics.daily_metrics d JOIN public.tenants t ON t.id = d.tenant_id WHERE t.slug = 'replay-05' LIMIT 1)";
    admin.batch_execute(digit).await.unwrap();
    let found = verify(&[]);
    let wrong = found.json()["differences"].clone();
    assert_eq!(
        (wrong.as_array().unwrap().len(), &wrong[0]["tenant"], &wrong[0]["table"]),
        (1, &json!("replay-05"), &json!("daily_metrics"))
    );
    found.fails(1, "--repair");
    verify(&["--tenant", "replay-06"]).ok();
    installation.run(&["metering", "verify", "--tenant", "nobody"]).fails(3, "nobody");
    let shown = installation.run(&["metering", "verify"]);
    assert!(shown.stdout.contains("replay-05") && shown.stdout.contains("cost_usd"), "{}", shown.stdout);
    shown.fails(1, "1 amounts differ");
    verify(&["--repair"]).ok();
    assert_eq!(verify(&["--settle"]).ok().json()["differences"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_is_finished_by_the_next() {
    let installation = Installation::prepared().await;
    let path = installation.directory.path().join("trace.csv");
    std::fs::write(&path, made(400, 600)).unwrap();
    let args = [
        "-o",
        "json",
        "metering",
        "replay",
        path.to_str().unwrap(),
        "--tenants",
        "3",
        "--models",
        MODELS,
        "--seed",
        "3",
    ];
    let mut child = installation.command(&[&args[..], &["--speed", "100"]].concat()).spawn().unwrap();
    let admin = admin_client(&installation.database).await;
    let there = async || -> i64 {
        admin.query_one("SELECT count(*) FROM analytics.provider_api_calls", &[]).await.unwrap().get(0)
    };
    while there().await == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the replay ends only when it is killed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(there().await < 400);
    let rest = installation.run(&args).ok().json();
    assert_eq!(there().await, 400, "{rest}");
    let truth = expected(&path, "replay-01,replay-02,replay-03", "3", rest["start"].as_str().unwrap());
    assert_eq!(summed(&installation, "hourly_metrics").await, truth);
    installation.run(&["metering", "verify"]).ok();

    installation.run(&["metering", "replay", "nothing.csv"]).fails(2, "nothing.csv");
    installation.run(&["metering", "replay", path.to_str().unwrap(), "--tenants", "nobody"]).fails(3, "nobody");
    installation.run(&["metering", "replay", path.to_str().unwrap(), "--models", "gpt"]).fails(2, "openai/gpt-4o-mini");
    installation.run(&["metering", "replay", path.to_str().unwrap(), "--input-column", "x"]).fails(2, "ContextTokens");
}
