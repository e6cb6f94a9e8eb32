//! Nothing of another company is in an answer.

use std::collections::BTreeSet;

use serde_json::json;

use crate::Stage;

/// Every question, so that all rows of a company are in some answer.
fn questions(stage: &Stage) -> Vec<String> {
    let period = stage.last(77);
    let mut all: Vec<String> =
        ["cost-summary", "providers", "trends", "task-types", "savings", "roi", "explain", "export"]
            .iter()
            .map(|page| format!("{page}?{period}"))
            .collect();
    all.push(format!("providers?{period}&by=model"));
    for group_by in ["model", "agent", "task", "key", "task_type", "account"] {
        all.push(format!("usage?{period}&group_by={group_by}&limit=50"));
    }
    for format in ["csv", "jsonl", "focus"] {
        all.extend(["calls", "days"].map(|rows| format!("export?{period}&format={format}&rows={rows}")));
    }
    all
}

/// The ids that the other company's calls have.
async fn foreign_ids(stage: &Stage) -> BTreeSet<String> {
    let sql = "SELECT unnest(ARRAY[id, agent_id, api_key_id, task_id, provider_account_id])::text FROM analytics.provider_api_calls WHERE tenant_id = $1";
    let rows = stage.admin.query(sql, &[stage.globex.id().as_uuid()]).await.unwrap();
    rows.iter().filter_map(|row| row.get::<_, Option<String>>(0)).collect()
}

/// The questions whose answers hold something of the other company.
async fn leaks(stage: &Stage) -> Vec<String> {
    let ids = foreign_ids(stage).await;
    let mut found = Vec::new();
    for question in questions(stage) {
        let text = stage.get(&question).await.text;
        assert!(!text.is_empty(), "{question}");
        if text.contains("foreign") || ids.iter().any(|id| text.contains(id.as_str())) {
            found.push(question);
        }
    }
    found
}

#[tokio::test]
async fn no_answer_holds_anything_foreign() {
    let stage = Stage::full().await;
    assert_eq!(leaks(&stage).await, Vec::<String>::new());
    let agent: String = foreign_ids(&stage).await.into_iter().next().unwrap();
    let answer = stage.ask(&format!("cost-summary?{}&agent_id={agent}", stage.last(77))).await;
    assert_eq!(answer["total"]["calls"], 0, "the other's id filters everything out");
    assert_eq!(
        (&answer["budgets"]["total"], &answer["budgets"]["nearest"][0]["name"]),
        (&json!(1), &json!("All of own"))
    );
}

/// Negative control: the statements do not name the tenant, so without row level security the search finds what it looks for.
#[tokio::test]
async fn without_row_level_security_the_others_rows_are_found() {
    let stage = Stage::full().await;
    for table in ["provider_api_calls", "hourly_metrics", "daily_metrics", "task_outcomes", "budgets"] {
        let sql = format!("ALTER TABLE analytics.{table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY");
        stage.admin.batch_execute(&sql).await.unwrap();
    }
    let found = leaks(&stage).await;
    assert!(found.len() >= 12, "{found:?}");
    let budgets = stage.ask("cost-summary").await["budgets"].clone();
    assert_eq!(budgets["total"], 2, "{budgets}");
}
