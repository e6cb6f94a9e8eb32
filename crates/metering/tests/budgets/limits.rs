//! Changes of budgets are heard, and servers do not keep from each other what they do not use.

use std::time::Duration;

use metering::Attribution;
use metering::budgets::{BudgetSettings, NotAdmitted, Rule};
use serde_json::json;

use crate::{Scene, eventually, exhausted, usd};

/// A second, and what a busy machine adds to it.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_soon_after_it_is_made_raised_lowered_or_deleted() {
    let scene = Scene::open().await;
    let server = scene.server(&BudgetSettings::default());
    assert!(server.admit(&scene.context, &Attribution::default(), Some(usd("5"))).await.is_ok(), "there is no budget");
    let budget = scene.budget(json!({ "limit_usd": "1" })).await;
    assert!(scene.until_admits(&server, "5", false).await < SOON, "a new budget");
    let raised = scene.change(&budget, json!({ "limit_usd": "10" })).await;
    assert!(scene.until_admits(&server, "5", true).await < SOON, "a raised limit");
    // the server has a lease of some of it
    let hold = server.admit(&scene.context, &Attribution::default(), Some(usd("0.05"))).await.unwrap();
    let lowered = scene.change(&raised, json!({ "limit_usd": "0.06" })).await;
    assert!(scene.until_admits(&server, "0.02", false).await < SOON, "a lowered limit");
    assert!(server.admit(&scene.context, &Attribution::default(), Some(usd("0.01"))).await.is_ok(), "the rest of it");
    drop(hold);
    scene.until_admits(&server, "0.06", true).await;
    let soft = scene.change(&lowered, json!({ "hard": false })).await;
    assert!(scene.until_admits(&server, "5", true).await < SOON, "a budget that only warns");
    scene.change(&soft, json!({ "hard": true })).await;
    scene.until_admits(&server, "5", false).await;
    let mut tx = scene.world.db.begin(&scene.context).await.unwrap();
    metering::store::budgets::delete(&mut tx, budget.id, None).await.unwrap();
    tx.commit().await.unwrap();
    assert!(scene.until_admits(&server, "5", true).await < SOON, "a deleted budget");
}

/// A change that commits late, after others that began later, is heard as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_missed_for_the_order_of_commits() {
    let scene = Scene::open().await;
    let server = scene.server(&BudgetSettings::default());
    let slow = scene.world.admin().await;
    slow.batch_execute(
        "BEGIN; INSERT INTO analytics.budgets (id, tenant_id, name, scope, scope_id, period, limit_usd) \
        SELECT gen_random_uuid(), id, 'slow', 'tenant', id, 'day', 2 FROM public.tenants WHERE slug = 'acme'",
    )
    .await
    .unwrap();
    scene.budget(json!({ "limit_usd": "4" })).await;
    scene.until_admits(&server, "5", false).await;
    scene.until_admits(&server, "3", true).await;
    slow.batch_execute("COMMIT").await.unwrap();
    assert!(scene.until_admits(&server, "3", false).await < SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_idle_server_has_is_given_back() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    // so large that the first server takes a quarter of all
    let greedy = BudgetSettings { slice_percent: 100, ..BudgetSettings::default() };
    let (one, two) = (scene.server(&greedy), scene.server(&greedy));
    let anyone = Attribution::default();
    drop(one.admit(&scene.context, &anyone, Some(usd("0.01"))).await.unwrap());
    assert!(scene.leased().await > usd("0.2"), "{}", scene.leased().await);
    assert!(exhausted(&two.admit(&scene.context, &anyone, Some(usd("1"))).await));
    assert!(scene.until_admits(&two, "1", true).await < SOON);
    // a server that goes leaves nothing
    let kept = one.admit(&scene.context, &anyone, Some(usd("0.01"))).await;
    drop(kept);
    one.leave().await;
    two.leave().await;
    assert!(scene.leased().await.is_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_price_are_admitted_or_not() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let anyone = Attribution::default();
    assert!(scene.server(&BudgetSettings::default()).admit(&scene.context, &anyone, None).await.is_ok());
    let strict = scene.server(&BudgetSettings { unpriced_with_budget: Rule::Refuse, ..BudgetSettings::default() });
    eventually(async || matches!(strict.admit(&scene.context, &anyone, None).await, Err(NotAdmitted::Unpriced { .. })))
        .await;
}

/// What is recorded counts, whoever made the call, and beyond the limit.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_made_elsewhere_count() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let server = scene.server(&BudgetSettings::default());
    let mut call = scene.call("3");
    call.source = metering::Source::Api;
    scene.ship(&server, &[call]).await;
    assert!(exhausted(&server.admit(&scene.context, &Attribution::default(), Some(usd("0.01"))).await));
    assert_eq!(scene.spent().await, usd("3"));
    assert!(scene.leased().await.is_zero());
}
