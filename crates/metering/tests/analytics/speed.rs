//! The plans of the questions that are asked most.

use tenantry_postgres::statements;

use crate::Stage;

statements! {
    /// The plan of the overview of a month.
    PLAN(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ) =
        "EXPLAIN (COSTS OFF) SELECT provider, sum(cost_usd) FROM analytics.hourly_metrics WHERE hour >= $3 AND hour < $4 AND day >= $1 AND day <= $2 GROUP BY 1";
    /// The plan of a page of calls.
    PLAN_OF_CALLS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ) =
        "EXPLAIN (COSTS OFF) SELECT * FROM analytics.provider_api_calls WHERE \"timestamp\" >= $3 AND \"timestamp\" < $4 AND day >= $1 AND day <= $2 \
         AND (\"timestamp\", id) > ('-infinity', '00000000-0000-0000-0000-000000000000') ORDER BY \"timestamp\", id LIMIT 2000";
    /// The plan of the newest calls.
    PLAN_OF_NEWEST() = "EXPLAIN (COSTS OFF) SELECT recorded_at FROM analytics.provider_api_calls ORDER BY \"timestamp\" DESC LIMIT 50";
}

/// Sums of many companies: a month of hours of each.
async fn crowd(stage: &Stage, companies: i32, kinds: i32) {
    let sql = "INSERT INTO analytics.hourly_metrics SELECT t.id, date_trunc('hour', now()) - make_interval(hours => h), \
        ((now() AT TIME ZONE 'UTC') - make_interval(hours => h))::date, 'p' || (k % 3), 'm' || (k % 10), 'o', md5('a' || (k % 25))::uuid, NULL, NULL, NULL, \
        20, 20, 19, 0, 0, 0, 0.123456789012 * k, 0, 0.001, 0, 20, 0.1, 0.3, 0.2, 15, 20000, 3000, 5000, 0, 0, 9000, array_fill(1::int8, ARRAY[32]), 0, 0 \
        FROM (SELECT id FROM public.tenants UNION ALL SELECT md5(n::text)::uuid FROM generate_series(1, $1) n) t, \
        generate_series(0, 719) h, generate_series(1, $2) k";
    stage.admin.execute(sql, &[&companies, &kinds]).await.unwrap();
    crate::seed::roll_up_days(&stage.admin).await;
    stage.admin.batch_execute("ANALYZE analytics.hourly_metrics; ANALYZE analytics.daily_metrics").await.unwrap();
}

#[tokio::test]
async fn plans_use_the_indexes_of_the_tenant() {
    let stage = Stage::empty().await;
    crowd(&stage, 10, 4).await;
    crate::seed::calls(&stage, &stage.acme, "own", 1).await;
    stage
        .admin
        .batch_execute(
            "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, latency_ms) \
             SELECT gen_random_uuid(), md5((n % 500)::text)::uuid, 'p', 'o', 1 FROM generate_series(1, 20000) n; \
             ANALYZE analytics.provider_api_calls",
        )
        .await
        .unwrap();
    let today = stage.today();
    let from = today - chrono::Days::new(3);
    let (low, high) = (stage.now() - chrono::TimeDelta::days(5), stage.now() + chrono::TimeDelta::days(2));
    let range: &[&(dyn tenantry_postgres::ToSql + Sync)] = &[&from, &today, &low, &high];
    for (statement, params, index) in
        [(&PLAN, range, "_day"), (&PLAN_OF_CALLS, range, "timestamp"), (&PLAN_OF_NEWEST, &[][..], "timestamp")]
    {
        let mut tx = stage.world.db.single(&stage.acme).await.unwrap();
        let plan: Vec<String> = tx.query(statement, params).await.unwrap().iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Cond: ((tenant_id =") || plan.contains("Index Cond: (tenant_id ="), "{plan}");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{}: {plan}", statement.name());
    }
}

/// A measurement for whoever works on the statements: `cargo test -p metering --test analytics -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn how_long_a_months_page_takes() {
    let stage = Stage::empty().await;
    crowd(&stage, 20, 50).await;
    for page in ["cost-summary", "usage?group_by=model", "providers", "trends", "savings", "roi", "explain"] {
        let mut times = Vec::new();
        for _ in 0..20 {
            let begun = std::time::Instant::now();
            stage.get(page).await;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        println!("{page}: p50 {:?} p95 {:?}", times[10], times[18]);
    }
}
