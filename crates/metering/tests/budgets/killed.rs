//! A server that is killed between its lease and the shipment of what it spent.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use metering::budgets::BudgetSettings;
use metering::{Attribution, Call, Decimal};
use serde_json::json;
use testkit::{TestDatabase, World, WorldConfig};
use uuid::Uuid;

use crate::{Scene, exhausted, usd};

const DATABASE: &str = "BUDGETS_TEST_DATABASE";
const SERVER: &str = "BUDGETS_TEST_SERVER";
const LEASE: &str = "BUDGETS_TEST_LEASE";

fn settings(lease: Duration) -> BudgetSettings {
    BudgetSettings { lease, ..BudgetSettings::default() }
}

/// Not a test by itself: the server that is killed. It settles ten calls, each of which it writes out as a spool would have it, has two
/// under way, and waits for its end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the part of another process, started by the tests of this module"]
async fn server_that_is_killed() {
    let (Ok(name), Ok(id)) = (std::env::var(DATABASE), std::env::var(SERVER)) else { return };
    let lease = Duration::from_millis(std::env::var(LEASE).unwrap().parse().unwrap());
    let database = TestDatabase::existing(&testkit::server_url(), &name);
    let world = World::on(database, WorldConfig::new(workforce::tenant_schema())).await;
    let context = world.context("acme").await;
    let clock = std::sync::Arc::new(tenantry_core::SystemClock);
    let server =
        metering::budgets::Budgets::start(&world.database.config, &settings(lease), clock, id.parse().unwrap());
    let mut holds = Vec::new();
    for n in 0..12 {
        let hold = server.admit(&context, &Attribution::default(), Some(usd("0.05"))).await.unwrap();
        if n < 10 {
            let call = crate::call_of(&context, &Attribution::default(), "0.05", chrono::Utc::now());
            println!("spooled {}", serde_json::to_string(&call).unwrap());
            hold.settle(&call);
        } else {
            holds.push(hold);
        }
    }
    println!("ready");
    std::future::pending::<()>().await;
}

struct Killed {
    id: Uuid,
    spool: Vec<Call>,
}

/// Runs a server until it has spent, and kills it.
fn run_and_kill(scene: &Scene, lease: Duration) -> Killed {
    let id = Uuid::new_v4();
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "killed::server_that_is_killed", "--nocapture"])
        .env(DATABASE, &scene.world.database.name)
        .env(SERVER, id.to_string())
        .env(LEASE, lease.as_millis().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut spool = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, call)) = line.split_once("spooled ") {
            spool.push(serde_json::from_str(call).unwrap());
        }
        if line.ends_with("ready") {
            break;
        }
    }
    // SIGKILL
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(spool.len(), 10);
    Killed { id, spool }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_had_stays_its_own_until_it_is_back() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let lease = Duration::from_secs(600);
    let Killed { id, spool } = run_and_kill(&scene, lease);
    let other = scene.server(&settings(lease));
    let anyone = Attribution::default();
    let admits = async |amount: &str| other.admit(&scene.context, &anyone, Some(usd(amount))).await;
    // 0.5 is spent and nowhere but in the spool, 0.1 was under way
    assert!(scene.leased().await >= usd("0.6"));
    assert!(exhausted(&admits("0.41").await));
    // back, with the same spool
    let again = scene.server_of(&settings(lease), id);
    scene.until_admits(&again, "0.01", true).await;
    for part in spool.chunks(4) {
        scene.ship(&again, part).await;
        assert!(scene.spent().await + scene.leased().await <= Decimal::ONE);
    }
    // The same again, as after a commit of which the shipper has not heard: it finds nothing new, and tells so.
    again.shipped(&spool);
    assert!(exhausted(&admits("0.41").await), "what was under way may have been spent");
    // the reaped ones
    scene.ship(&again, &[scene.call("0.05"), scene.call("0.05")]).await;
    again.recovered();
    assert_eq!(scene.spent().await, usd("0.6"));
    scene.until_admits(&other, "0.4", true).await;
    assert!(exhausted(&admits("0.41").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_had_is_free_when_its_lease_is_over() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let lease = Duration::from_secs(2);
    let Killed { id, spool } = run_and_kill(&scene, lease);
    let other = scene.server(&settings(lease));
    scene.until_admits(&other, "0.9", true).await;
    let hold = other.admit(&scene.context, &Attribution::default(), Some(usd("0.9"))).await.unwrap();
    let call = scene.call("0.9");
    hold.settle(&call);
    scene.ship(&other, &[call]).await;
    // Its spool comes late: the bound is what it holds.
    let again = scene.server_of(&settings(lease), id);
    scene.ship(&again, &spool).await;
    assert_eq!(scene.spent().await, usd("1.4"));
    // What a server took ahead, before it was known, is at most a slice.
    crate::eventually(async || scene.leased().await.is_zero()).await;
    for server in [&again, &other] {
        assert!(exhausted(&server.admit(&scene.context, &Attribution::default(), Some(usd("0.01"))).await));
    }
}
