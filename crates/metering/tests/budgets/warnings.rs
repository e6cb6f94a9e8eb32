//! Each warning once.

use metering::Attribution;
use metering::budgets::BudgetSettings;
use serde_json::json;

use crate::{Scene, eventually, exhausted, usd};

impl Scene {
    /// Kinds, thresholds and amounts of what was noticed, in the order of the thresholds.
    async fn noticed(&self) -> Vec<(String, i32, String)> {
        let sql = "SELECT kind, threshold, trim_scale(spent_usd)::text FROM analytics.budget_notices ORDER BY kind DESC, threshold";
        let rows = self.world.admin().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }
}

fn threshold(percent: i32, spent: &str) -> (String, i32, String) {
    ("threshold".into(), percent, spent.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_noticed_once_by_two_servers() {
    let scene = Scene::open().await;
    let budget = scene.budget(json!({ "limit_usd": "10", "hard": false })).await;
    let servers = [scene.server(&BudgetSettings::default()), scene.server(&BudgetSettings::default())];
    scene.until_admits(&servers[0], "100", true).await;
    let ship = async |cost: &str| {
        for server in &servers {
            scene.ship(server, &[scene.call(cost)]).await;
        }
    };
    ship("2").await;
    ship("0.5").await;
    eventually(async || scene.noticed().await.first().is_some_and(|first| *first == threshold(50, "5"))).await;
    // over two at once, and beyond the limit, where a budget that only warns refuses nobody
    ship("4").await;
    eventually(async || scene.noticed().await.len() == 3).await;
    // The second of the two shipments may come after the look that finds the first.
    let percents = scene.noticed().await.into_iter().map(|(_, percent, _)| percent).collect::<Vec<_>>();
    assert_eq!(percents, [50, 80, 100]);
    assert!(servers[0].admit(&scene.context, &Attribution::default(), Some(usd("100"))).await.is_ok());
    // A limit that is lowered reaches thresholds without a call; one that was told stays told.
    scene.change(&budget, json!({ "limit_usd": "6.5", "warn_at": [50, 200] })).await;
    eventually(async || scene.noticed().await.len() == 4).await;
    assert_eq!(scene.noticed().await[3], threshold(200, "13"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_noticed_once() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1", "warn_at": [] })).await;
    let servers = [scene.server(&BudgetSettings::default()), scene.server(&BudgetSettings::default())];
    for server in servers.iter().chain(&servers) {
        assert!(exhausted(&server.admit(&scene.context, &Attribution::default(), Some(usd("2"))).await));
    }
    eventually(async || !scene.noticed().await.is_empty()).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(scene.noticed().await, [("refused".to_owned(), 0, "0".to_owned())]);
}
