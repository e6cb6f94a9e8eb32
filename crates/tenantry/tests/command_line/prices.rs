//! Prices at the command line, and a run over recorded calls that is killed.

use testkit::admin_client;

use super::installation::Installation;

const CATALOGUE: &str = "format = 1\n[[provider]]\nname = \"acme_ai\"\n[[provider.model]]\nname = \"m*\"\n[[provider.model.price]]\n\
    from = \"2020-01-01\"\nsource = \"contract\"\nchecked = \"2026-01-01\"\ninput = \"1\"\noutput = \"10\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_is_checked_tried_and_loaded() {
    let installation = Installation::prepared().await;
    let file = |name: &str, text: &str| std::fs::write(installation.directory.path().join(name), text).unwrap();
    file("wrong.toml", &CATALOGUE.replace("\"1\"", "1.5"));
    file("prices.toml", CATALOGUE);
    installation.run(&["prices", "check", "wrong.toml"]).fails(2, "line 10: invalid type: floating point `1.5`");
    installation.run(&["prices", "check", "nothing.toml"]).fails(2, "cannot read the catalogue `nothing.toml`");
    let checked = installation.run(&["prices", "check", "prices.toml"]).ok();
    assert!(checked.stderr.contains("is valid: 1 models"), "{}", checked.stderr);
    let show = ["-o", "json", "prices", "show", "acme_ai", "m-large"];
    installation.run(&show).fails(3, "has no price");
    let tried = installation.run(&["prices", "load", "prices.toml", "--dry-run"]).ok();
    assert!(tried.stdout.starts_with("added acme_ai/m*") && tried.stderr.contains("not loaded"), "{}", tried.stderr);
    installation.run(&show).fails(3, "has no price");
    installation.run(&["prices", "load", "wrong.toml"]).fails(2, "the catalogue is not valid");
    let loaded = installation.run(&["-o", "json", "prices", "load", "prices.toml", "--note", "contract 7"]).ok().json();
    assert_eq!((&loaded["id"], &loaded["dry_run"]), (&1.into(), &false.into()));
    assert_eq!(installation.run(&show).ok().json()[0]["price"]["output"], "10");
    let list = installation.run(&["prices", "list", "--provider", "openai", "--at", "2025-06-09"]).ok().stdout;
    assert!(list.lines().any(|line| line.contains(" o3 ") && line.contains(" 40 ")), "{list}");
    let trail = installation.run(&["-o", "json", "audit", "verify"]).ok();
    assert!(!trail.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_finished_by_the_next_and_nothing_is_doubled() {
    let installation = Installation::prepared().await;
    installation.run(&["tenant", "create", "acme", "--admin-email", "it@example.org"]).ok();
    std::fs::write(installation.directory.path().join("prices.toml"), CATALOGUE).unwrap();
    installation.run(&["prices", "load", "prices.toml"]).ok();
    let admin = admin_client(&installation.database).await;
    let calls = "WITH made AS (INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, model, operation, latency_ms, tokens_input, \
           tokens_output, usage) \
         SELECT gen_random_uuid(), t.id, 'acme_ai', 'm-' || n % 3, 'chat.completions', 1, 1000, 100, '{\"input\": 1000, \"output\": 100}' \
         FROM public.tenants t, generate_series(1, 4000) n RETURNING tenant_id, day) \
         INSERT INTO analytics.spend_counters (tenant_id, scope, scope_id, day, calls, unpriced_calls) \
         SELECT tenant_id, 'tenant', tenant_id, day, count(*), count(*) FROM made GROUP BY tenant_id, day";
    admin.batch_execute(calls).await.unwrap();
    let adjusted = async || -> i64 {
        let sql = "SELECT count(*) FROM analytics.provider_api_calls WHERE kind = 'adjustment'";
        admin.query_one(sql, &[]).await.unwrap().get(0)
    };
    installation.run(&["metering", "reprice"]).fails(2, "--reason");
    installation.run(&["metering", "reprice", "--changed", "--reason", "x"]).fails(2, "--since");
    let run = ["-o", "json", "metering", "reprice", "--tenant", "acme", "--reason", "the model was not in the list"];
    let tried = installation.run(&["-o", "json", "metering", "reprice", "--dry-run"]).ok().json();
    assert_eq!((&tried["adjusted"], &tried["delta_usd"]), (&4000.into(), &"8.000000000000".into()));
    let mut killed = 0;
    for after in [1, 1001, 2001] {
        let mut child = installation.command(&run).stdout(std::process::Stdio::null()).spawn().unwrap();
        while adjusted().await < after && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        child.kill().unwrap();
        killed += i32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "no run was killed under way");
    let left = 4000 - adjusted().await;
    assert_eq!(installation.run(&run).ok().json()["adjusted"], left);
    assert_eq!(installation.run(&run).ok().json()["adjusted"], 0);
    let sql = "SELECT count(*), count(DISTINCT adjusts), sum(cost_usd)::text, \
                 (SELECT cost_usd::text || ' ' || unpriced_calls FROM analytics.spend_counters), \
                 (SELECT sum((details->>'adjusted')::int)::bigint FROM audit.events WHERE action = 'prices.reprice') \
               FROM analytics.provider_api_calls WHERE kind = 'adjustment' AND prices_call";
    let row = admin.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(4)), (4000, 4000, 4000));
    assert_eq!((row.get::<_, &str>(2), row.get::<_, &str>(3)), ("8.000000000000", "8.000000000000 0"));
}
