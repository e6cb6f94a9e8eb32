//! Reports, bills and statements at the command line.

use std::process::Stdio;

use testkit::admin_client;

use super::installation::Installation;

/// The month before the present one, of which calls may be.
fn month() -> String {
    let first = chrono::Utc::now().format("%Y-%m-01").to_string().parse::<chrono::NaiveDate>().unwrap();
    first.pred_opt().unwrap().format("%Y-%m").to_string()
}

async fn spend(installation: &Installation) {
    let sql = format!(
        "INSERT INTO analytics.hourly_metrics (tenant_id, hour, day, provider, model, operation, total_calls, operations, successful_calls, \
             unpriced_calls, estimated_calls, unsettled_calls, cost_usd, adjustments_usd, failed_cost_usd, estimated_cost_usd, covered_calls, \
             covered_cost_usd, list_baseline_usd, like_baseline_usd, optimal_calls, tokens_input, tokens_output, tokens_cache_read, \
             tokens_cache_write, tokens_reasoning, latency_ms, latency_histogram, first_token_ms, first_token_calls) \
         SELECT id, timestamptz '{month}-02 05:00Z', '{month}-02', 'openai', model, 'chat', 2, 2, 2, unpriced, 0, 0, cost, 0, 0, 0, 0, 0, 0, 0, 0, \
             10, 10, 0, 0, 0, 5, '{{}}', 0, 0 \
         FROM public.tenants, (VALUES ('gpt-5', 0, 1.006), ('gpt-new', 2, 0)) AS m (model, unpriced, cost)",
        month = month()
    );
    admin_client(&installation.database).await.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_ask_import_compare_and_close() {
    let installation = Installation::prepared().await;
    for slug in ["acme", "globex"] {
        installation.run(&["tenant", "create", slug, "--admin-email", "it@example.org"]).ok();
    }
    spend(&installation).await;
    let month = month();
    let run = |args: &[&str]| installation.run(&[&["metering"], args].concat());
    let json = |args: &[&str]| installation.run(&[&["-o", "json", "metering"], args].concat());

    let table = run(&["costs", "--month", &month]).ok().stdout;
    let line = table.lines().nth(1).unwrap();
    assert!(line.starts_with("acme") && line.contains("1.006000"), "{table}");
    let models = json(&["costs", "--month", &month, "--by", "model", "--sort", "unpriced", "--limit", "1"]).ok().json();
    assert_eq!((&models[0]["name"], &models[0]["unpriced_calls"]), (&"openai/gpt-new".into(), &4.into()));
    let unpriced = run(&["unpriced", "--days", "70"]).ok();
    assert!(
        unpriced.stdout.contains("gpt-new") && unpriced.stderr.contains("hint: load a price"),
        "{}",
        unpriced.stdout
    );
    let health = run(&["health"]).ok().stdout;
    assert!(health.contains("hours to be summed") && !health.contains("ALERT"), "{health}");

    let file = |name: &str, text: &str| std::fs::write(installation.directory.path().join(name), text).unwrap();
    file("bill.csv", &format!("day,amount_usd\n{month}-02,2.2\n"));
    file("bad.csv", "day,amount_usd\nyesterday,1\n2026-10-01,lots\n");
    let import = |name: &str| run(&["bill", "import", name, "--provider", "openai"]);
    assert!(import("bill.csv").ok().stdout.contains("2.200000"));
    assert!(import("bill.csv").ok().stderr.contains("imported before"));
    let bad = import("bad.csv");
    assert!(bad.stderr.contains("line 2: ") && bad.stderr.contains("line 3: "), "{}", bad.stderr);
    bad.fails(2, "nothing was imported");
    import("none.csv").fails(2, "cannot read `none.csv`");
    assert_eq!(json(&["bill", "list"]).ok().json().as_array().unwrap().len(), 1);
    let compared = run(&["reconcile", "--month", &month]);
    assert!(compared.stdout.contains("short") && compared.stdout.contains("0.914545"), "{}", compared.stdout);
    compared.fails(9, "less was captured than is billed on 1 days");

    let preview = run(&["statement", "acme", &month]).ok().stdout;
    assert!(preview.contains("open") && preview.contains("gpt-new"), "{preview}");
    let planned = run(&["close", &month, "--early", "--dry-run"]).ok();
    assert!(planned.stderr.contains("nothing was closed") && planned.stdout.contains("1.01"), "{}", planned.stdout);
    assert_eq!(json(&["close", &month, "--tenant", "globex", "--early"]).ok().json().as_array().unwrap().len(), 1);
    let rest = json(&["close", &month, "--early"]).ok().json();
    assert_eq!((rest.as_array().unwrap().len(), &rest[0]["slug"]), (1, &"acme".into()), "what is closed stays");
    let shown = run(&["statement", "acme", &month]).ok().stdout;
    assert!(shown.contains("closed") && shown.contains("digest"), "{shown}");
    run(&["close", "2100-01"]).fails(7, "months of 2 tenants are not closed");
    run(&["statement", "nobody", &month]).fails(3, "nobody");
    run(&["statement", "acme", "2026-13"]).fails(2, "is not a month");
    let forge =
        "ALTER TABLE analytics.statement_lines DISABLE TRIGGER ALL; UPDATE analytics.statement_lines SET cost_usd = 0";
    admin_client(&installation.database).await.batch_execute(forge).await.unwrap();
    run(&["statement", "acme", &month]).fails(12, "is not as it was closed");
}

/// Between the statement and its lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_closing_that_is_killed_leaves_nothing_half_closed() {
    let installation = Installation::prepared().await;
    installation.run(&["tenant", "create", "acme", "--admin-email", "it@example.org"]).ok();
    spend(&installation).await;
    let (month, admin) = (month(), admin_client(&installation.database).await);
    admin.batch_execute("BEGIN; LOCK TABLE analytics.statement_lines IN SHARE MODE").await.unwrap();
    let close = ["metering", "close", month.as_str(), "--early"];
    let mut child = installation.command(&close).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                 WHERE NOT l.granted AND d.datname = current_database() AND l.relation = 'analytics.statement_lines'::regclass";
    while admin.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    admin.batch_execute("ROLLBACK").await.unwrap();
    let again = installation.run(&[&["-o", "json"], &close[..]].concat()).ok().json();
    assert_eq!((&again[0]["number"], &again[0]["amount_usd"]), (&1.into(), &"1.01".into()));
    let count =
        "SELECT (SELECT count(*) FROM analytics.statements) * 10 + (SELECT count(*) FROM analytics.statement_lines)";
    assert_eq!(admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 12);
}
