//! Many calls at once, on two servers.

use futures_util::future::join_all;
use metering::budgets::{BudgetError, BudgetSettings, Budgets, Hold};
use metering::{Attribution, Call, Decimal};
use serde_json::json;

use crate::{Scene, exhausted, usd};

/// As many calls as asked for, all at once and in turns on the servers; gives the holds of those that were admitted.
async fn admit(scene: &Scene, servers: &[Budgets; 2], calls: usize, at_most: &str) -> [Vec<Hold>; 2] {
    let anyone = Attribution::default();
    let admitted =
        join_all((0..calls).map(|n| servers[n % 2].admit(&scene.context, &anyone, Some(usd(at_most))))).await;
    let mut holds = [Vec::new(), Vec::new()];
    for (n, outcome) in admitted.into_iter().enumerate() {
        match outcome {
            Ok(hold) => holds[n % 2].push(hold),
            refused => assert!(exhausted(&refused), "{refused:?}"),
        }
    }
    holds
}

async fn settle_and_ship(scene: &Scene, server: &Budgets, holds: Vec<Hold>, cost: &str) -> usize {
    let calls: Vec<Call> = holds
        .into_iter()
        .map(|hold| {
            let call = scene.call(cost);
            hold.settle(&call);
            call
        })
        .collect();
    for part in calls.chunks(7) {
        scene.ship(server, part).await;
    }
    calls.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_what_was_held_never_exceeds_the_limit_and_all_of_it_can_be_spent() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let servers = [scene.server(&BudgetSettings::default()), scene.server(&BudgetSettings::default())];
    let holds = admit(&scene, &servers, 200, "0.01").await;
    let held = holds.iter().map(Vec::len).sum::<usize>();
    assert!((80..=100).contains(&held), "{held} of 200 calls were admitted for 100 that fit");
    let mut made = 0;
    for (server, holds) in servers.iter().zip(holds) {
        made += settle_and_ship(&scene, server, holds, "0.01").await;
    }
    assert!(scene.spent().await + scene.leased().await <= Decimal::ONE);
    // What one server does not need the other gets, to the last cent.
    let anyone = Attribution::default();
    let begun = std::time::Instant::now();
    while made < 100 {
        assert!(begun.elapsed().as_secs() < 15, "{made} calls could be made");
        for server in &servers {
            if let Ok(hold) = server.admit(&scene.context, &anyone, Some(usd("0.01"))).await {
                made += settle_and_ship(&scene, server, vec![hold], "0.01").await;
            }
        }
    }
    assert_eq!(scene.spent().await, Decimal::ONE);
    for server in &servers {
        assert!(exhausted(&server.admit(&scene.context, &anyone, Some(usd("0.000000000001"))).await));
        assert!(exhausted(&server.admit(&scene.context, &anyone, None).await), "also one without a price");
        assert!(server.admit(&scene.context, &anyone, Some(Decimal::ZERO)).await.is_ok(), "but for one that is free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_more_than_was_held_exceeds_the_limit_by_that_much_and_no_more() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let servers = [scene.server(&BudgetSettings::default()), scene.server(&BudgetSettings::default())];
    let holds = admit(&scene, &servers, 200, "0.01").await;
    let in_flight = Decimal::from(holds.iter().map(Vec::len).sum::<usize>());
    for (server, holds) in servers.iter().zip(holds) {
        settle_and_ship(&scene, server, holds, "0.03").await;
    }
    let bound = Decimal::ONE + in_flight * usd("0.02");
    let spent = scene.spent().await;
    assert!(spent > Decimal::ONE && spent <= bound, "{spent} of {bound}");
    assert_eq!(admit(&scene, &servers, 20, "0.01").await.map(|holds| holds.len()), [0, 0], "nothing more is admitted");
}

/// One call after the other: what each overruns is known before more is leased, whichever server asks.
#[tokio::test(flavor = "multi_thread")]
async fn overruns_do_not_add_up() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let servers = [scene.server(&BudgetSettings::default()), scene.server(&BudgetSettings::default())];
    let (anyone, mut refusals) = (Attribution::default(), 0);
    while refusals < 4 {
        for server in &servers {
            match server.admit(&scene.context, &anyone, Some(usd("0.02"))).await {
                Ok(hold) => {
                    settle_and_ship(&scene, server, vec![hold], "0.1").await;
                    refusals = 0;
                }
                Err(_) => {
                    refusals += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
                }
            }
        }
    }
    let spent = scene.spent().await;
    // One call of each server: the one under way, and one from the slice that the other had taken ahead.
    assert!(spent >= usd("1") && spent <= usd("1.16"), "{spent}");
}

/// A tenant's budget costs microseconds, and no database.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_admitted_in_memory() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1000" })).await;
    let server = scene.server(&BudgetSettings::default());
    let anyone = Attribution::default();
    let mut took = Vec::new();
    for _ in 0..2000 {
        let begun = std::time::Instant::now();
        let hold = server.admit(&scene.context, &anyone, Some(usd("0.0001"))).await.unwrap();
        took.push(begun.elapsed());
        hold.settle(&scene.call("0.0001"));
    }
    took.sort_unstable();
    println!("admission: p50 {:?}, p99 {:?}", took[1000], took[1980]);
    assert!(took[1000].as_micros() < 200, "{:?}", took[1000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_places_for_budgets_are_given_once_each() {
    let scene = Scene::open().await;
    let made = "INSERT INTO analytics.budgets (id, tenant_id, name, scope, scope_id, period, limit_usd) \
                SELECT gen_random_uuid(), $1, 'n ' || n, 'tenant', $1, 'day', 1 FROM generate_series(1, 997) AS n";
    scene.world.admin().await.execute(made, &[scene.context.id().as_uuid()]).await.unwrap();
    let outcomes = join_all((0..12).map(|_| scene.make_budget(json!({})))).await;
    let refused = |outcome: &Result<_, BudgetError>| matches!(outcome, Err(BudgetError::TooMany(1000)));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 9, "{outcomes:?}");
}
