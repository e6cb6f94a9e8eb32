//! PostgreSQL is killed and started again under load.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use isolation::backends::eventually;
use isolation::marks::{ADD, ALL, schema};
use isolation::through::few_connections;
use tenantry_embedded::{Throwaway, ThrowawayConfig};
use tenantry_postgres::{AccessError, AccessMode, Actor, DbError};
use testkit::{TestDatabase, World, WorldConfig};

const TENANTS: [&str; 4] = ["one", "two", "three", "four"];
const KILLS: usize = 2;

/// What one writer knows, outside of the database.
#[derive(Default)]
struct Notes {
    acknowledged: Mutex<HashSet<String>>,
    unknown: Mutex<HashSet<String>>,
    served: AtomicUsize,
}

async fn write(world: &World, slug: &str, batch: &str) -> Result<(), DbError> {
    let context = match world.registry.system_context(&slug.parse().unwrap(), "test").await {
        Ok(context) => context,
        Err(AccessError::Stale(reason)) => return Err(DbError::Unavailable(reason)),
        Err(other) => panic!("a wrong answer while the database is away: {other}"),
    };
    let mut tx = world.db.begin(&context).await?;
    tx.execute(&ADD, &[&slug, &batch, &1]).await?;
    tx.execute(&ADD, &[&slug, &batch, &2]).await?;
    for row in tx.query(&ALL, &[]).await? {
        assert_eq!(row.get::<_, &str>(0), slug, "a foreign row");
    }
    tx.commit().await
}

async fn writer(world: World, slug: &'static str, notes: Arc<Notes>, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let batch = format!("{slug} {number}");
        match write(&world, slug, &batch).await {
            Ok(()) => {
                notes.acknowledged.lock().unwrap().insert(batch);
                notes.served.fetch_add(1, Ordering::Relaxed);
            }
            Err(DbError::Unavailable(_)) => {
                notes.unknown.lock().unwrap().insert(batch);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Err(other) => panic!("a wrong answer while the database is away: {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_killed_under_load_loses_nothing_that_was_acknowledged() {
    let on = |name: &str| (name.to_owned(), "on".to_owned());
    let mut settings = vec![on("fsync"), on("synchronous_commit"), on("full_page_writes")];
    // Otherwise a restart first syncs every file one by one.
    settings.push(("recovery_init_sync_method".into(), "syncfs".into()));
    let mut server = Throwaway::start(ThrowawayConfig { settings, ..ThrowawayConfig::default() }).await.unwrap();
    let database = TestDatabase::create_on(&server.cluster().superuser_url("postgres")).await;
    let mut config = WorldConfig::new(schema());
    config.cell_capacity = 2;
    config.access = few_connections(AccessMode::Direct, 2, 3);
    let world = World::on(database, config).await;
    for slug in TENANTS {
        world.tenant(slug).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let notes: Vec<Arc<Notes>> = TENANTS.iter().map(|_| Arc::default()).collect();
    let writers: Vec<_> = TENANTS
        .into_iter()
        .zip(&notes)
        .map(|(slug, notes)| tokio::spawn(writer(world.clone(), slug, Arc::clone(notes), Arc::clone(&stop))))
        .collect();
    let all_served_again = async |times: usize| {
        let before: Vec<usize> = notes.iter().map(|n| n.served.load(Ordering::Relaxed)).collect();
        eventually("every tenant is served", async || {
            assert!(writers.iter().all(|w| !w.is_finished()), "a writer got a wrong answer");
            notes.iter().zip(&before).all(|(n, before)| n.served.load(Ordering::Relaxed) >= before + times)
        })
        .await;
    };
    for _ in 0..KILLS {
        all_served_again(5).await;
        server.cluster().kill9();
        server.cluster_mut().exited().await;
        server.cluster_mut().resume().await.unwrap();
        all_served_again(5).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let mut lost = 0;
    for (slug, notes) in TENANTS.into_iter().zip(&notes) {
        let context = world.context(slug).await;
        let mut rows: Vec<(String, i32)> = Vec::new();
        let mut tx = world.db.read_only(&context).await.unwrap();
        for row in tx.query(&ALL, &[]).await.unwrap() {
            assert_eq!(row.get::<_, &str>(0), slug, "a foreign row");
            rows.push((row.get(1), row.get(2)));
        }
        let (acknowledged, unknown) = (notes.acknowledged.lock().unwrap(), notes.unknown.lock().unwrap());
        let there: HashSet<&String> = rows.iter().map(|(batch, _)| batch).collect();
        lost += acknowledged.iter().filter(|batch| !there.contains(batch)).count();
        assert!(there.iter().all(|b| acknowledged.contains(*b) || unknown.contains(*b)), "{slug}: a row from nowhere");
        assert_eq!(rows.len(), 2 * there.len(), "{slug}: half a transaction");
        println!("{slug}: {} acknowledged, {} unknown, {} there", acknowledged.len(), unknown.len(), there.len());
        assert!(!unknown.is_empty() && acknowledged.len() >= 10 * KILLS, "{slug}: it was killed under load");
    }
    assert_eq!(lost, 0, "acknowledged writes were lost");
    // The registry hears its changes again, too.
    assert!(world.registry.wait_until_listening(isolation::backends::PATIENCE).await);
    world.provisioner.suspend("one", &Actor::system("test")).await.unwrap();
    eventually("a suspension is heard after all that", async || {
        matches!(
            world.registry.system_context(&"one".parse().unwrap(), "test").await,
            Err(AccessError::Inactive { .. })
        )
    })
    .await;
    eventually("all places are free", async || world.db.stats().live == world.db.stats().idle).await;
    world.registry.stop();
    server.stop().await.unwrap();
}
