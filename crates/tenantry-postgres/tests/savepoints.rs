//! Parts of a transaction that fail by themselves, on a real server.
#![expect(clippy::disallowed_methods, reason = "a superuser looks from outside, in no scope")]
#![expect(clippy::unwrap_used, reason = "what helps a test fails as a test does")]

use serde_json::json;
use tenantry_postgres::{AccessMode, DbError, TenantContext, TenantSchema, TenantTx};
use testkit::{World, WorldConfig};

tenantry_postgres::statements! {
    /// Adds a note.
    ADD(TEXT) = "INSERT INTO tenant.notes (body) VALUES ($1)";
    /// All notes.
    ALL() = "SELECT body FROM tenant.notes ORDER BY body";
    /// Who runs it.
    WHO() = "SELECT current_user::text AS who";
    /// Fails.
    FAIL() = "SELECT 1/0";
}

const MODES: [AccessMode; 2] = [AccessMode::Direct, AccessMode::Pooler];

async fn world(mode: AccessMode) -> World {
    let schema = TenantSchema::new("CREATE TABLE tenant.notes (body text PRIMARY KEY)", &["notes"]);
    let mut config = WorldConfig::new(schema);
    config.access.mode = mode;
    config.access.cell_connections = 1;
    let world = World::start(config).await;
    world.tenant("acme").await;
    world.tenant("globex").await;
    world
}

async fn begin(world: &World, slug: &str) -> (TenantTx, TenantContext) {
    let context = world.context(slug).await;
    (world.db.begin(&context).await.unwrap(), context)
}

async fn bodies(world: &World, slug: &str) -> Vec<String> {
    let context = world.context(slug).await;
    let mut tx = world.db.single(&context).await.unwrap();
    tx.query(&ALL, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn audited(world: &World) -> Vec<String> {
    let sql = "SELECT target FROM audit.events WHERE action = 'note.add' ORDER BY id";
    world.admin().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Adds a note as a part of its own, with its audit event before the statement that may fail.
async fn part(tx: &mut TenantTx, body: &str) -> Result<(), DbError> {
    tx.savepoint().unwrap();
    tx.audit("note.add", body, json!({}));
    tx.execute(&ADD, &[&body]).await.map(|_| ())
}

#[tokio::test]
async fn parts_that_fail_leave_nothing_and_the_others_last() {
    for mode in MODES {
        let world = world(mode).await;
        let (mut tx, context) = begin(&world, "acme").await;
        let parts = [("a", true), ("a", false), ("b", true), ("a", false), ("b", false), ("c", true)];
        for (body, fine) in parts {
            let done = part(&mut tx, body).await;
            assert_eq!(done.is_ok(), fine, "{mode:?} {body}");
            if !fine {
                assert!(matches!(tx.query(&ALL, &[]).await, Err(DbError::Misuse(_))), "not before it is undone");
                tx.rollback_to_savepoint().await.unwrap();
                let who = tx.query_one(&WHO, &[]).await.unwrap();
                assert_eq!(who.get::<_, String>("who"), context.tenant().role().as_str(), "{mode:?}: still in scope");
            }
        }
        tx.commit().await.unwrap();
        assert_eq!(bodies(&world, "acme").await, ["a", "b", "c"], "{mode:?}");
        assert_eq!(audited(&world).await, ["a", "b", "c"], "{mode:?}");
        assert_eq!(bodies(&world, "globex").await, [""; 0], "{mode:?}: the next tenant on the connection sees its own");
        assert_eq!(world.db.stats().opened, 1, "{mode:?}: the connection is as good as new");
    }
}

#[tokio::test]
async fn the_first_statement_of_a_transaction_may_fail() {
    for mode in MODES {
        let world = world(mode).await;
        let (mut tx, _) = begin(&world, "acme").await;
        tx.savepoint().unwrap();
        tx.query(&FAIL, &[]).await.unwrap_err();
        tx.rollback_to_savepoint().await.unwrap();
        part(&mut tx, "a").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(bodies(&world, "acme").await, ["a"], "{mode:?}");
    }
}

#[tokio::test]
async fn work_that_did_not_fail_can_be_undone_as_well() {
    let world = world(AccessMode::Direct).await;
    let (mut tx, _) = begin(&world, "acme").await;
    part(&mut tx, "a").await.unwrap();
    part(&mut tx, "b").await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    tx.execute(&ADD, &[&"c"]).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap();
    // nothing was sent since: only what was noted is forgotten
    tx.savepoint().unwrap();
    tx.audit("note.add", "never", json!({}));
    tx.rollback_to_savepoint().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((bodies(&world, "acme").await, audited(&world).await), (vec!["a".to_owned()], vec!["a".to_owned()]));
}

#[tokio::test]
async fn without_a_savepoint_only_the_whole_can_be_undone() {
    let world = world(AccessMode::Direct).await;
    let (mut tx, context) = begin(&world, "acme").await;
    assert!(matches!(tx.rollback_to_savepoint().await, Err(DbError::Misuse(_))));
    tx.execute(&ADD, &[&"a"]).await.unwrap();
    tx.query(&FAIL, &[]).await.unwrap_err();
    assert!(matches!(tx.savepoint(), Err(DbError::Misuse(_))), "too late");
    assert!(tx.rollback_to_savepoint().await.is_err());
    assert!(tx.commit().await.is_err());
    // a part that failed and was not undone is not forgotten
    let (mut tx, _) = begin(&world, "acme").await;
    part(&mut tx, "b").await.unwrap();
    tx.query(&FAIL, &[]).await.unwrap_err();
    assert!(tx.commit().await.is_err());
    assert_eq!(bodies(&world, "acme").await, [""; 0]);
    let mut single = world.db.single(&context).await.unwrap();
    assert!(matches!(single.savepoint(), Err(DbError::Misuse(_))));
    drop(single);
    let mut reader = world.db.read_only(&context).await.unwrap();
    assert!(matches!(reader.savepoint(), Err(DbError::Misuse(_))));
}

#[tokio::test]
async fn a_lost_connection_ends_the_transaction() {
    let world = world(AccessMode::Direct).await;
    let (mut tx, _) = begin(&world, "acme").await;
    part(&mut tx, "a").await.unwrap();
    let killed = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                  WHERE datname = current_database() AND state = 'idle in transaction'";
    world.admin().await.execute(killed, &[]).await.unwrap();
    tx.rollback_to_savepoint().await.unwrap_err();
    assert!(tx.rollback_to_savepoint().await.is_err());
    assert!(tx.execute(&ADD, &[&"b"]).await.is_err());
    assert!(tx.commit().await.is_err(), "nobody is told that it lasts");
    assert_eq!(bodies(&world, "acme").await, [""; 0]);
}
