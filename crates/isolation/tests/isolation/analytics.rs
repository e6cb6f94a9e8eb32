//! The shared tables: a query that forgets the tenant returns nothing foreign.

use isolation::{Scene, assert_none, checks};

tenantry_postgres::statements! {
    /// The plan of a query that forgets the tenant.
    PLAN() = "EXPLAIN (COSTS OFF) SELECT sum(latency_ms) FROM analytics.provider_api_calls";
    /// The same with a range of time.
    PLAN_OF_RANGE() = "EXPLAIN (COSTS OFF) SELECT sum(latency_ms) FROM analytics.provider_api_calls WHERE \"timestamp\" > now() - interval '1 hour'";
}

#[tokio::test]
async fn a_query_that_forgets_the_tenant_shows_nothing_foreign() {
    let scene = Scene::set(|_| {}).await;
    assert_none(&checks::analytics(&scene).await);
    assert_none(&checks::owner_reads(&scene).await);
}

#[tokio::test]
async fn a_partition_is_not_a_way_round() {
    let scene = Scene::set(|_| {}).await;
    let partitions = scene
        .admin
        .query("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent IN ('analytics.provider_api_calls'::regclass, 'analytics.daily_metrics'::regclass)", &[])
        .await
        .unwrap();
    assert!(partitions.len() >= 8, "{}", partitions.len());
    let context = scene.context(&scene.me).await;
    for partition in partitions {
        let name: String = partition.get(0);
        let mut tx = scene.world.db.single(&context).await.unwrap();
        assert_eq!(
            tx.raw(&format!("SELECT * FROM {name}"), &[]).await.unwrap_err().sqlstate(),
            Some("42501"),
            "{name}"
        );
        drop(tx);
        // And were it granted, the partition's own row level security shows nothing: it has no policy.
        scene.as_admin(&format!("GRANT SELECT ON {name} TO {{me_role}}")).await;
        let mut tx = scene.world.db.single(&context).await.unwrap();
        assert!(tx.raw(&format!("SELECT * FROM {name}"), &[]).await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn the_policy_uses_the_index() {
    let scene = Scene::set(|_| {}).await;
    // Enough rows of others that reading everything is dearer than the index.
    scene
        .as_admin(
            "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, latency_ms) \
             SELECT gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((n % 500)::text, 12, '0'))::uuid, 'p', 'o', 1 FROM generate_series(1, 20000) n; \
             ANALYZE analytics.provider_api_calls",
        )
        .await;
    let context = scene.context(&scene.me).await;
    for statement in [&PLAN, &PLAN_OF_RANGE] {
        let mut tx = scene.world.db.single(&context).await.unwrap();
        let rows = tx.query(statement, &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Cond: ((tenant_id =") || plan.contains("Index Cond: (tenant_id ="), "{plan}");
        assert!(plan.contains("InitPlan"), "the tenant is computed once: {plan}");
    }
}
