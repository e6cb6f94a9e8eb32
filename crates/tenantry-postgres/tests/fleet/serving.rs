//! What those who are served notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tenantry_postgres::migrate::{Events, Outcome};
use tenantry_postgres::{AccessError, Actor, DbError};

use super::locks::needing;
use super::stage::{BASELINE, COLOR, COLOR_DOWN, Stage, TAGS};

tenantry_postgres::statements! {
    /// Adds a note.
    ADD(INT4, TEXT) = "INSERT INTO tenant.notes (id, body) VALUES ($1, $2)";
    /// All of all notes: its columns change with the migration.
    ALL() = "SELECT * FROM tenant.notes";
    /// Their number.
    COUNT() = "SELECT count(*) FROM tenant.notes";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_behind_is_refused_until_it_is_migrated() {
    let stage = Stage::of(2).await;
    let newer = needing(&stage, 2).await;
    let slug = "t00".parse().unwrap();
    let refused = newer.registry.system_context(&slug, "test").await.unwrap_err();
    assert!(matches!(refused, AccessError::SchemaBehind { at: 1, needed: 2, .. }), "{refused}");
    let older = stage.world.context("t00").await;
    stage.fleet(&[BASELINE, COLOR, COLOR_DOWN]).up(&Stage::options(), &Events::none()).await.unwrap();
    let context = loop {
        match newer.registry.system_context(&slug, "test").await {
            Ok(context) => break context,
            Err(AccessError::SchemaBehind { .. }) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    };
    // An older program serves a tenant that is ahead.
    let mut tx = stage.world.db.single(&older).await.unwrap();
    tx.query(&ALL, &[]).await.unwrap();
    // Taken back, it is refused again, also where it was served a moment ago.
    stage.fleet(&[BASELINE, COLOR, COLOR_DOWN]).down(1, &Stage::options(), &Events::none()).await.unwrap();
    let refused = loop {
        match newer.db.begin(&context).await {
            Ok(tx) => tx.rollback().await.unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, DbError::SchemaBehind { at: 1, needed: 2 }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_notice_nothing() {
    let stage = Stage::of(20).await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for n in 0..20 {
        let (world, stop, done) = (stage.world.clone(), Arc::clone(&stop), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let context = world.context(&format!("t{n:02}")).await;
            let mut written = 0;
            while !stop.load(Ordering::SeqCst) {
                let mut tx = world.db.begin(&context).await?;
                tx.execute(&ADD, &[&written, &"a note"]).await?;
                written += 1;
                tx.commit().await?;
                let mut tx = world.db.single(&context).await?;
                tx.query(&ALL, &[]).await?;
                done.fetch_add(1, Ordering::SeqCst);
            }
            let mut tx = world.db.single(&context).await?;
            let rows: i64 = tx.query_one(&COUNT, &[]).await?.get(0);
            assert_eq!(rows, i64::from(written));
            Ok::<_, DbError>(())
        }));
    }
    let busy = |more: usize| {
        let done = Arc::clone(&done);
        async move {
            let target = done.load(Ordering::SeqCst) + more;
            while done.load(Ordering::SeqCst) < target {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    };
    busy(100).await;
    let beside =
        ("0004_beside.sql", "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY notes_body ON tenant.notes (body)");
    let report = stage.fleet(&[BASELINE, COLOR, TAGS, beside]).up(&Stage::options(), &Events::none()).await.unwrap();
    assert_eq!((&report.outcome, report.migrated), (&Outcome::Done, 20), "{report:?}");
    busy(100).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap().unwrap();
    }
    assert_eq!(stage.columns("notes", "color").await, 20);
    stage.is_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_suspended_while_it_is_migrated() {
    let stage = Stage::of(1).await;
    let slow = ("0002_slow.sql", "CREATE TABLE tenant.a (); SELECT pg_sleep(2)");
    let fleet = stage.fleet(&[BASELINE, slow]);
    let run = tokio::spawn(async move { fleet.up(&Stage::options(), &Events::none()).await });
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    while stage.count(at_work).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    stage.world.provisioner.suspend("t00", &Actor::system("test")).await.unwrap();
    assert_eq!(stage.count(at_work).await, 1, "nobody has waited for the other");
    stage
        .admin
        .batch_execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        .await
        .unwrap();
    // A cancelled step is tried again.
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(stage.at(2).await, 1);
}
