//! Rows that the database refuses for what they are.

use chrono::{TimeDelta, Utc};

use super::stage::{Stage, at, call};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_fit_is_kept_beside_and_holds_nothing_up() {
    let stage = Stage::new().await;
    let metering = stage.metering();
    let mut calls: Vec<_> = (0..50).map(|n| call(n % 3, "0.01")).collect();
    calls[17].provider_request_id = Some("no \0 here".into());
    calls[31].cost.cost_usd = "1000000000000".parse().ok();
    // longer ago than calls are kept, and further ahead than anybody's clock should be
    calls[40] = at(1, "0.01", Utc::now() - TimeDelta::days(200));
    calls[41] = at(1, "0.01", Utc::now() + TimeDelta::days(400));
    for call in &calls {
        metering.spool.record(std::slice::from_ref(call)).await.unwrap();
    }
    metering.spool.close().await;
    let state = stage.ship().await;
    assert_eq!((state.shipped, state.rejected), (46, 4), "{state:?}");
    let kept = std::fs::read_to_string(stage.spools().join("0/rejected.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (place, reason) in [(17, "0x00"), (31, "overflow"), (40, "no partition"), (41, "no partition")] {
        let id = calls[place].id.to_string();
        let line = lines.iter().find(|line| line["call"]["id"] == id).unwrap();
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    }
    assert_eq!(stage.metering().health().rejected, 4, "the next start knows of them");
    stage.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_is_missing_is_made_for_a_late_call() {
    let stage = Stage::new().await;
    let late = at(1, "0.01", Utc::now() - TimeDelta::days(62));
    let drop_month = format!("DROP TABLE analytics.provider_api_calls_{}", late.timestamp.format("%Y_%m"));
    stage.admin.batch_execute(&drop_month).await.unwrap();
    let metering = stage.metering();
    metering.spool.record(&[call(1, "0.01"), late]).await.unwrap();
    metering.spool.close().await;
    let state = stage.ship().await;
    assert_eq!((state.shipped, state.rejected), (2, 0), "{state:?}");
}
