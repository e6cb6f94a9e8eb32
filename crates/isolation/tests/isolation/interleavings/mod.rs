//! Random interleavings of everything that can happen to a few tenants on fewer connections. Every row carries the id of
//! its tenant, so one in the wrong hands shows itself; a model says which rows must be there.
//!
//! `PROPTEST_CASES` sets the number of runs.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

mod model;
mod ops;
mod run;

use std::sync::Arc;
use std::time::Duration;

use isolation::marks::schema;
use isolation::through::{by_way_of, pooler};
use proptest::test_runner::{Config, TestRunner};
use tenantry_postgres::{AccessMode, DatabaseConfig};
use testkit::{TestDatabase, World, WorldConfig};

use run::Run;

const CASES: u32 = 10;

fn interleave(world: &World, config: &DatabaseConfig, mode: AccessMode, runtime: &tokio::runtime::Runtime) {
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if given { Config::default().cases } else { CASES };
    let settings = Config {
        cases,
        max_shrink_iters: 100,
        max_shrink_time: 30_000,
        failure_persistence: None,
        ..Config::default()
    };
    let number = std::cell::Cell::new(0);
    TestRunner::new(settings)
        .run(&ops::case(), |mut case| {
            if mode == AccessMode::Pooler {
                case.spare_the_pooler();
            }
            number.set(number.get() + 1);
            let whole = async {
                let run = Arc::new(Run::new(world, config, mode, &case, number.get()).await);
                let clients: Vec<_> =
                    case.clients.iter().map(|ops| tokio::spawn(Arc::clone(&run).client(ops.clone()))).collect();
                for client in clients {
                    client.await.unwrap();
                }
                run.finish().await;
            };
            runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(60), whole).await })
                .expect("it is stuck");
            Ok(())
        })
        .unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn world(database: TestDatabase) -> World {
    let mut config = WorldConfig::new(schema());
    config.cell_capacity = 3;
    World::on(database, config).await
}

#[test]
fn tenants_interleaved_on_few_connections_never_meet() {
    let runtime = runtime();
    let world = runtime.block_on(async { world(TestDatabase::create().await).await });
    interleave(&world, &world.database.config, AccessMode::Direct, &runtime);
}

#[test]
fn tenants_interleaved_through_a_pooler_never_meet() {
    let runtime = runtime();
    let (world, pooler) = runtime.block_on(async {
        let database = TestDatabase::create().await;
        let pooler = pooler(&database, 2).await;
        (world(database).await, pooler)
    });
    interleave(&world, &by_way_of(&world.database, &pooler), AccessMode::Pooler, &runtime);
    runtime.block_on(pooler.stop());
}
