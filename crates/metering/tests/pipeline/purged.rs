//! A purged tenant's calls do not come back from a server's disk.

use std::time::Duration;

use chrono::TimeDelta;
use metering::ship::Shipping;
use metering::store::book;
use metering::{Call, Metering};
use tenantry_core::TenantId;
use tenantry_postgres::{Actor, MeterDb};
use testkit::{World, WorldConfig};

use super::stage::{Stage, call, until};

/// Two companies, of which the first is going to be purged.
struct Scene {
    world: World,
    stage: Stage,
    acme: TenantId,
    globex: TenantId,
}

impl Scene {
    async fn open() -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        for slug in ["acme", "globex"] {
            world.tenant(slug).await;
        }
        let (acme, globex) = (world.context("acme").await.id(), world.context("globex").await.id());
        Self { stage: Stage::on(world.database.clone()).await, world, acme, globex }
    }

    /// Ten calls of each, in turns.
    async fn record(&self, metering: &Metering) {
        for n in 0..20 {
            let of = if n % 2 == 0 { self.acme } else { self.globex };
            metering.spool.record(&[Call { tenant_id: of, ..call(n, "0.01") }]).await.unwrap();
        }
    }

    async fn purge_acme(&self) {
        let actor = Actor::system("test");
        self.world.provisioner.delete("acme", TimeDelta::zero(), &actor).await.unwrap();
        self.world.provisioner.purge("acme", TimeDelta::zero(), &actor).await.unwrap();
    }

    /// The shared tables that have something of the first company, whatever tables there are.
    async fn found(&self) -> Vec<String> {
        let tables = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
                      WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1";
        let mut found = Vec::new();
        for row in self.stage.admin.query(tables, &[]).await.unwrap() {
            let table: String = row.get(0);
            let any = format!("SELECT 1 FROM {table} WHERE tenant_id = $1 LIMIT 1");
            if !self.stage.admin.query(&any, &[self.acme.as_uuid()]).await.unwrap().is_empty() {
                found.push(table);
            }
        }
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_on_a_disk_is_dropped_when_its_tenant_is_purged() {
    let scene = Scene::open().await;
    let metering = scene.stage.metering();
    scene.record(&metering).await;
    metering.spool.close().await;
    scene.purge_acme().await;
    let state = scene.stage.ship().await;
    assert_eq!((state.shipped, state.purged, state.repeated, state.rejected), (10, 10, 0, 0), "{state:?}");
    assert_eq!(scene.found().await, Vec::<String>::new());
    assert_eq!(scene.stage.booked().await.0, 10, "the other's are all there");
    scene.stage.agree().await;
}

/// So do the rows of it that were refused, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_goes_when_its_tenant_is_purged() {
    let scene = Scene::open().await;
    let metering = scene.stage.metering();
    for of in [scene.acme, scene.globex] {
        let refused = Call { tenant_id: of, provider_request_id: Some("no \0 here".into()), ..call(1, "0.01") };
        metering.spool.record(&[refused]).await.unwrap();
    }
    metering.spool.close().await;
    assert_eq!(scene.stage.ship().await.rejected, 2);
    let file = scene.stage.spools().join("0/rejected.jsonl");
    let has = |tenant: TenantId| std::fs::read_to_string(&file).unwrap().contains(&tenant.to_string());
    // the control: it is looked through, and both stay
    let metering = scene.stage.metering();
    let shipping = Shipping::start(&metering, &scene.stage.settings()).unwrap();
    metering.spool.record(&[Call { tenant_id: scene.globex, ..call(1, "1") }]).await.unwrap();
    until(&metering, |state| state.shipped == 1).await;
    assert!(has(scene.acme) && has(scene.globex));
    shipping.stop(Duration::from_secs(5)).await;
    scene.purge_acme().await;
    let metering = scene.stage.metering();
    let shipping = Shipping::start(&metering, &scene.stage.settings()).unwrap();
    until(&metering, |state| state.rejected == 1).await;
    assert!(!has(scene.acme) && has(scene.globex));
    shipping.stop(Duration::from_secs(5)).await;
}

/// Negative control: where it is not noted that the tenant was purged, its calls come back.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_note_of_the_purge_they_are_found() {
    let scene = Scene::open().await;
    let metering = scene.stage.metering();
    scene.record(&metering).await;
    metering.spool.close().await;
    scene.purge_acme().await;
    scene.stage.admin.batch_execute("DELETE FROM analytics.purged_tenants").await.unwrap();
    assert_eq!(scene.stage.ship().await.shipped, 20);
    let expected = ["arrivals", "dirty_hours", "provider_api_calls", "spend_counters"];
    assert_eq!(scene.found().await, expected.map(|table| format!("analytics.{table}")));
}

/// A purge waits for what is being booked, also the first call of all, and removes it; what comes while it is under way is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_booked_when_the_purge_comes_goes_with_it() {
    let scene = Scene::open().await;
    let db = MeterDb::new(&scene.stage.database.config, 2);
    let tx = db.begin().await.unwrap();
    assert_eq!(book(&tx, &[Call { tenant_id: scene.acme, ..call(1, "1") }]).await.unwrap(), [0]);
    let purge = scene.purge_acme();
    let commit = async {
        let waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while scene.stage.admin.query(waits, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tx.commit().await.unwrap();
    };
    tokio::join!(purge, commit);
    assert_eq!(scene.found().await, Vec::<String>::new());
    let tx = db.begin().await.unwrap();
    assert_eq!(book(&tx, &[Call { tenant_id: scene.acme, ..call(1, "1") }]).await.unwrap(), [0_usize; 0]);
    tx.commit().await.unwrap();
    assert_eq!(scene.found().await, Vec::<String>::new());
}
