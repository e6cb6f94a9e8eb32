use serde_json::json;
use workforce::quota::Quota;
use workforce::store::quotas;

use crate::Company;

impl Company {
    async fn counted(&self) -> (i64, i64, i64) {
        let counted = quotas::counted(&mut self.single().await).await.unwrap();
        (counted.agents, counted.tasks, counted.concurrent_tasks)
    }

    async fn is_exact(&self) {
        assert_eq!(quotas::verify(&mut self.begin().await).await.unwrap(), []);
    }
}

#[tokio::test]
async fn whatever_changes_is_counted() {
    let company = Company::start().await;
    assert_eq!(company.counted().await, (0, 0, 0));
    let (mira, otto) = (company.agent("Mira").await, company.agent("Otto").await);
    assert!(company.try_agent(json!({ "name": "Mira", "role": "support" })).await.is_err(), "the name is taken");
    let (first, second) = (company.task(&mira, "first").await, company.task(&mira, "second").await);
    assert_eq!(company.counted().await, (2, 2, 0));
    let first = company.change_task(&first, json!({ "status": "in_progress" })).await.unwrap();
    let second = company.change_task(&second, json!({ "status": "in_progress" })).await.unwrap();
    let first = company.change_task(&first, json!({ "progress_percent": 50 })).await.unwrap();
    assert_eq!(company.counted().await, (2, 2, 2));
    assert!(company.change_task(&first, json!({ "status": "pending" })).await.is_err(), "no such step");
    let first = company.change_task(&first, json!({ "status": "blocked" })).await.unwrap();
    let first = company.change_task(&first, json!({ "status": "in_progress" })).await.unwrap();
    company.change_task(&first, json!({ "status": "completed" })).await.unwrap();
    assert_eq!(company.counted().await, (2, 2, 1));
    company.delete_task(&second, None).await.unwrap();
    assert!(company.delete_task(&second, None).await.is_err(), "it is gone");
    company.delete_agent(&otto, None).await.unwrap();
    assert!(company.delete_agent(&otto, None).await.is_err(), "it is gone");
    assert_eq!(company.counted().await, (1, 2, 0), "a deleted task counts in its month");
    company.is_exact().await;
}

#[tokio::test]
async fn what_is_rolled_back_is_not_counted() {
    let company = Company::start().await;
    let mut tx = company.begin().await;
    workforce::store::agents::create(&mut tx, &crate::body(json!({ "name": "Mira", "role": "support" })))
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(company.counted().await, (0, 0, 0));
}

#[tokio::test]
async fn a_wrong_counter_is_found_and_counted_anew() {
    let company = Company::start().await;
    company.agent("Mira").await;
    let admin = company.world.admin().await;
    admin.batch_execute("UPDATE tenant_acme.quota_counters SET used = 7 WHERE name = 'agents'").await.unwrap();
    let found = quotas::verify(&mut company.begin().await).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].used, found[0].truth), (Quota::Agents.as_str(), 7, 1));
    let mut tx = company.begin().await;
    assert_eq!(quotas::repair(&mut tx).await.unwrap(), found);
    tx.commit().await.unwrap();
    company.is_exact().await;
    assert!(company.audited().await.contains(&"quota.repair".to_owned()));
}

/// A tenant from before the counters gets them with the rows it has.
#[tokio::test]
async fn the_migration_counts_what_is_there() {
    let company = Company::start().await;
    let mira = company.agent("Mira").await;
    company.agent("Otto").await;
    let task = company.task(&mira, "first").await;
    company.change_task(&task, json!({ "status": "in_progress" })).await.unwrap();
    let gone = company.task(&mira, "second").await;
    company.delete_task(&gone, None).await.unwrap();
    let admin = company.world.admin().await;
    admin
        .batch_execute("UPDATE tenant_acme.tasks SET created_at = now() - interval '40 days' WHERE title = 'first'")
        .await
        .unwrap();
    let (_, sql) = workforce::MIGRATIONS.iter().find(|(name, _)| name.ends_with("_quotas.sql")).unwrap();
    let role: String =
        admin.query_one("SELECT 'tnt_' || replace(id::text, '-', '') FROM public.tenants", &[]).await.unwrap().get(0);
    let sql = sql.replace("tenant.", "tenant_acme.").replace("tenant_role", &role);
    admin.batch_execute(&format!("DROP TABLE tenant_acme.quota_counters; {sql}")).await.unwrap();
    assert_eq!(company.counted().await, (2, 1, 1));
    company.is_exact().await;
}
