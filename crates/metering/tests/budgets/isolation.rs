//! A budget counts what it is for, and holds back nobody else.

use metering::Attribution;
use metering::budgets::BudgetSettings;
use serde_json::json;
use uuid::Uuid;

use crate::{Scene, call_of, exhausted, usd};

#[tokio::test(flavor = "multi_thread")]
async fn one_companys_budget_is_not_anothers() {
    let scene = Scene::open().await;
    scene.world.tenant("globex").await;
    let globex = scene.world.context("globex").await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    scene.budget_of(&globex, json!({ "limit_usd": "2" })).await;
    let server = scene.server(&BudgetSettings::default());
    let anyone = Attribution::default();
    // all of the one's budget is spent
    for _ in 0..2 {
        let hold = server.admit(&scene.context, &anyone, Some(usd("0.5"))).await.unwrap();
        let call = scene.call("0.5");
        hold.settle(&call);
        scene.ship(&server, &[call]).await;
    }
    assert!(exhausted(&server.admit(&scene.context, &anyone, Some(usd("0.01"))).await), "the control: it does refuse");
    let all = server.admit(&globex, &anyone, Some(usd("2"))).await;
    assert!(all.is_ok(), "{all:?}");
    assert!(exhausted(&server.admit(&globex, &anyone, Some(usd("0.01"))).await), "the control: now it does as well");
    drop(all);
    // neither sees the other's
    let mut tx = scene.world.db.begin(&globex).await.unwrap();
    let limit = tenantry_http::Limit::from_query(None).unwrap();
    let page = metering::store::budgets::list(&mut tx, None, None, None, limit).await.unwrap();
    assert_eq!(page.data.iter().map(|budget| budget.limit_usd.0).collect::<Vec<_>>(), [usd("2")]);
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_budget_is_its_own_and_so_is_a_keys() {
    let scene = Scene::open().await;
    let (agent, other, key) = (scene.agent("Mira").await, scene.agent("Ines").await, scene.key().await);
    scene.budget(json!({ "scope": "agent", "scope_id": agent, "limit_usd": "1" })).await;
    scene.budget(json!({ "scope": "key", "scope_id": key, "limit_usd": "3" })).await;
    let server = scene.server(&BudgetSettings::default());
    let by = |agent_id: Option<Uuid>, api_key_id: Option<Uuid>| Attribution {
        agent_id,
        api_key_id,
        ..Attribution::default()
    };
    let admits =
        async |who: &Attribution, amount: &str| server.admit(&scene.context, who, Some(usd(amount))).await.is_ok();
    let call = call_of(&scene.context, &by(Some(agent), Some(key)), "0.9", scene.clock.now());
    scene.ship(&server, &[call]).await;
    assert!(!admits(&by(Some(agent), None), "0.2").await, "the agent's");
    assert!(!admits(&by(Some(agent), Some(key)), "0.2").await, "also with the key");
    assert!(admits(&by(Some(agent), None), "0.1").await);
    assert!(admits(&by(Some(other), None), "5").await, "not another agent's");
    assert!(admits(&by(None, None), "5").await, "not nobody's");
    assert!(!admits(&by(Some(other), Some(key)), "2.2").await, "the key's, whoever uses it");
    // A refusal by one budget takes nothing of the other.
    assert!(admits(&by(None, Some(key)), "2.1").await);
    assert!(admits(&by(None, Some(other)), "5").await, "not another key's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scope_names_has_to_be_there() {
    let scene = Scene::open().await;
    scene.world.tenant("globex").await;
    let globex = scene.world.context("globex").await;
    let (agent, key) = (scene.agent("Mira").await, scene.key().await);
    for (scope, id) in [("agent", agent), ("key", key), ("agent", Uuid::new_v4()), ("key", Uuid::new_v4())] {
        let body = json!({ "name": "x", "scope": scope, "scope_id": id, "period": "day", "limit_usd": "1" });
        let outcome = scene.try_budget(&globex, body).await;
        assert!(matches!(outcome, Err(metering::budgets::BudgetError::UnknownScope { .. })), "{scope}: {outcome:?}");
    }
}
