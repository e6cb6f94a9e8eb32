//! What access does when connections die, requests are given up and tenants change while somebody waits.

#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenantry_postgres::{AccessConfig, Actor, DbError, TenantSchema};
use testkit::{World, WorldConfig};

tenantry_postgres::statements! {
    /// Adds a note.
    ADD(TEXT) = "INSERT INTO tenant.notes (body) VALUES ($1)";
    /// All notes.
    ALL() = "SELECT body FROM tenant.notes ORDER BY id";
    /// Computes for longer than any test.
    ENDLESS() = "SELECT count(*) FROM generate_series(1, 1000000000000)";
}

async fn world(change: impl FnOnce(&mut AccessConfig)) -> World {
    let mut config = WorldConfig::new(TenantSchema::new(
        "CREATE TABLE tenant.notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
        &["notes"],
    ));
    change(&mut config.access);
    World::start(config).await
}

async fn bodies(world: &World, slug: &str) -> Vec<String> {
    let context = world.context(slug).await;
    let mut tx = world.db.single(&context).await.unwrap();
    tx.query(&ALL, &[]).await.unwrap().iter().map(|r| r.get(0)).collect()
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn idle_connections_that_the_server_closed_fail_nobody() {
    let world = world(|c| c.cell_connections = 1).await;
    world.tenant("acme").await;
    let admin = world.admin().await;
    let context = world.context("acme").await;
    for round in 0..10 {
        let mut tx = world.db.begin(&context).await.unwrap();
        tx.execute(&ADD, &[&format!("{round}")]).await.unwrap();
        tx.commit().await.unwrap();
        let killed = admin
            .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'tenantry\\_cell\\_%' AND datname = current_database()", &[])
            .await
            .unwrap();
        assert_eq!(killed.len(), 1);
        if round % 2 == 0 {
            assert_eq!(bodies(&world, "acme").await.len(), round + 1);
        }
    }
    assert_eq!(world.db.stats().opened, 10, "one for each that was killed");
}

#[tokio::test]
async fn a_connection_lost_inside_a_transaction_is_an_error_and_nothing_stays() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    tx.execute(&ADD, &[&"lost"]).await.unwrap();
    let admin = world.admin().await;
    admin
        .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'tenantry\\_cell\\_%' AND datname = current_database()", &[])
        .await
        .unwrap();
    assert!(matches!(tx.execute(&ADD, &[&"half"]).await, Err(DbError::Unavailable(_))));
    assert!(matches!(tx.commit().await, Err(DbError::Unavailable(_))));
    assert!(bodies(&world, "acme").await.is_empty());
}

#[tokio::test]
async fn a_tenant_suspended_while_its_request_waits_is_refused() {
    let world = world(|c| c.cell_connections = 1).await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    let held = world.db.begin(&world.context("acme").await).await.unwrap();
    let context = world.context("globex").await;
    let mut waiting = Box::pin(world.db.begin(&context));
    assert!(poll_once(waiting.as_mut()).is_pending());
    world.provisioner.suspend("globex", &Actor::system("test")).await.unwrap();
    while world.registry.system_context(&"globex".parse().unwrap(), "test").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
    assert!(matches!(waiting.await, Err(DbError::ContextExpired)));
    let stats = world.db.stats();
    assert_eq!(stats.live, stats.idle, "its place was given back: {stats:?}");
    assert!(bodies(&world, "acme").await.is_empty());
}

#[tokio::test]
async fn nothing_is_built_on_a_statement_that_was_abandoned() {
    let world = world(|_| {}).await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    for commit in [true, false] {
        let mut tx = world.db.begin(&context).await.unwrap();
        tx.execute(&ADD, &[&"before"]).await.unwrap();
        assert!(poll_once(Box::pin(tx.execute(&ADD, &[&"abandoned"])).as_mut()).is_pending());
        assert!(matches!(tx.query(&ALL, &[]).await, Err(DbError::Misuse(_))));
        if commit {
            assert!(matches!(tx.commit().await, Err(DbError::Misuse(_))));
        } else {
            tx.rollback().await.unwrap();
        }
    }
    let mut first = world.db.begin(&context).await.unwrap();
    assert!(poll_once(Box::pin(first.execute(&ADD, &[&"abandoned"])).as_mut()).is_pending());
    assert!(first.commit().await.is_err(), "not an empty transaction that commits");
    assert!(bodies(&world, "acme").await.is_empty());
}

#[tokio::test]
async fn a_cancelled_request_keeps_its_place_until_the_server_was_told() {
    let world = world(|c| {
        c.cell_connections = 1;
        c.tenant_connections = 1;
    })
    .await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    assert!(poll_once(Box::pin(tx.query(&ENDLESS, &[])).as_mut()).is_pending());
    drop(tx);
    let mut next = Box::pin(world.db.begin(&context));
    assert!(poll_once(next.as_mut()).is_pending());
    assert_eq!(world.db.stats().live, 1, "no new connection beside the one still at work");
    next.await.unwrap();
}

#[tokio::test]
async fn whatever_await_is_cancelled_every_place_comes_back() {
    let world = world(|c| {
        c.cell_connections = 2;
        c.tenant_connections = 2;
        c.max_connections = 2;
    })
    .await;
    world.tenant("acme").await;
    let context = world.context("acme").await;
    // Each round gives up after so many polls, so that every await of the way is hit.
    for polls in 0..60 {
        let request = async {
            let mut tx = world.db.begin(&context).await?;
            tx.execute(&ADD, &[&"x"]).await?;
            tx.query(&ALL, &[]).await?;
            tx.rollback().await
        };
        let mut request = Box::pin(request);
        for _ in 0..polls {
            if poll_once(request.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(request);
    }
    // Both places are there at the same time, and no connection is counted that does not exist.
    let (one, two) = (world.db.begin(&context).await.unwrap(), world.db.begin(&context).await.unwrap());
    assert!(world.db.stats().live <= 2, "{:?}", world.db.stats());
    drop((one, two));
    world.db.close();
    let stats = world.db.stats();
    assert_eq!((stats.live, stats.idle), (0, 0), "{stats:?}");
    assert!(bodies(&world, "acme").await.is_empty());
}

#[tokio::test]
async fn a_statement_whose_table_was_migrated_is_prepared_anew() {
    let world = world(|c| c.cell_connections = 1).await;
    world.tenant("acme").await;
    for _ in 0..3 {
        assert!(bodies(&world, "acme").await.is_empty());
    }
    let admin = world.admin().await;
    admin.batch_execute("ALTER TABLE tenant_acme.notes ALTER COLUMN body TYPE varchar(100)").await.unwrap();
    assert!(bodies(&world, "acme").await.is_empty(), "a single statement does not even notice");
    for _ in 0..2 {
        assert!(bodies(&world, "acme").await.is_empty());
    }
    // In a transaction the first use fails, as the transaction is lost with it, and the next one is fine.
    admin.batch_execute("ALTER TABLE tenant_acme.notes ALTER COLUMN body TYPE text").await.unwrap();
    let context = world.context("acme").await;
    let mut tx = world.db.begin(&context).await.unwrap();
    assert_eq!(tx.query(&ALL, &[]).await.unwrap_err().sqlstate(), Some("0A000"));
    tx.rollback().await.unwrap();
    let mut tx = world.db.begin(&context).await.unwrap();
    assert!(tx.query(&ALL, &[]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
}
