//! The database is away.

use std::sync::Arc;
use std::time::Duration;

use metering::Attribution;
use metering::budgets::{BudgetSettings, Budgets, NotAdmitted, Rule};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{Scene, eventually, usd};

/// Passes connections on to the database until it is dropped.
struct Wire {
    port: u16,
    passing: tokio::task::JoinHandle<()>,
}

impl Wire {
    async fn to(server: &str) -> Self {
        let config: tokio_postgres::Config = server.parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = config.get_hosts()[0].clone() else { panic!("over TCP") };
        let target = config.get_ports()[0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let passing = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let host = host.clone();
                connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect((host.as_str(), target)).await else { return };
                    // However it ends, it has ended.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, passing }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_leased_can_be_spent_and_nothing_else() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "100" })).await;
    let wire = Wire::to(scene.world.database.server()).await;
    let database = scene.world.database.by_way_of(wire.port).config;
    let start =
        |settings: &BudgetSettings| Budgets::start(&database, settings, Arc::clone(&scene.clock), Uuid::new_v4());
    let strict = start(&BudgetSettings::default());
    let lenient = start(&BudgetSettings { when_unknown: Rule::Allow, ..BudgetSettings::default() });
    scene.world.tenant("globex").await;
    let globex = scene.world.context("globex").await;
    let anyone = Attribution::default();
    for server in [&strict, &lenient] {
        drop(server.admit(&scene.context, &anyone, Some(usd("0.5"))).await.unwrap());
    }
    drop(wire);
    let some = strict.admit(&scene.context, &anyone, Some(usd("0.5"))).await;
    assert!(some.is_ok(), "from the lease: {some:?}");
    let more = strict.admit(&scene.context, &anyone, Some(usd("5"))).await;
    assert!(matches!(more, Err(NotAdmitted::Unknown)), "{more:?}");
    assert!(lenient.admit(&scene.context, &anyone, Some(usd("5"))).await.is_ok(), "where it is set so");
    assert!(
        strict.admit(&globex, &anyone, Some(usd("5"))).await.is_ok(),
        "a company without budgets has no need of it"
    );
}

/// A server that has never read the budgets knows of nobody that there is no limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_nothing_admits_nothing() {
    let scene = Scene::open().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let database = scene.world.database.by_way_of(nobody).config;
    let server = Budgets::start(&database, &BudgetSettings::default(), Arc::clone(&scene.clock), Uuid::new_v4());
    let outcome = server.admit(&scene.context, &Attribution::default(), Some(usd("0.01"))).await;
    assert!(matches!(outcome, Err(NotAdmitted::Unknown)), "{outcome:?}");
}

/// An outage that is over leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_back_is_asked_again() {
    let scene = Scene::open().await;
    scene.budget(json!({ "limit_usd": "1" })).await;
    let server = scene.server(&BudgetSettings::default());
    let anyone = Attribution::default();
    drop(server.admit(&scene.context, &anyone, Some(usd("0.1"))).await.unwrap());
    let admin = scene.world.admin().await;
    for _ in 0..5 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'tenantry_meter' AND datname = current_database()";
        admin.query_one(sql, &[]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Refused or admitted: what matters is that nothing is lost on the way.
        drop(server.admit(&scene.context, &anyone, Some(usd("0.3"))).await);
    }
    scene.until_admits(&server, "1", true).await;
    eventually(async || scene.leased().await.is_zero()).await;
}
