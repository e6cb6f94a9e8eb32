//! What tenants use: measured for the fleet, one tenant's trouble is not another's, and the source of a metric.

#![expect(clippy::disallowed_methods, reason = "a test looks from outside, in no scope")]

use std::time::Duration;

use tenantry_postgres::{Actor, ProvisionError, TenantPatch, TenantSchema};
use testkit::{World, WorldConfig};

tenantry_postgres::statements! {
    /// Notes count as agents here.
    NOTES() = "SELECT 'agents', count(*) FROM tenant.notes";
}

async fn world() -> World {
    let schema = TenantSchema::new("CREATE TABLE tenant.notes (body text)", &["notes"]).with_usage(&NOTES);
    World::start(WorldConfig::new(schema)).await
}

fn agents(limit: i32) -> TenantPatch {
    TenantPatch { max_agents: Some(Some(limit)), ..TenantPatch::default() }
}

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn the_fleet_is_measured_in_batches_and_read_in_one_query() {
    let world = world().await;
    let admin = world.admin().await;
    for n in 0..7 {
        let slug = format!("t{n}");
        world.tenant(&slug).await;
        admin
            .batch_execute(&format!("INSERT INTO tenant_{slug}.notes SELECT 'x' FROM generate_series(1, {n})"))
            .await
            .unwrap();
    }
    let large = "INSERT INTO tenant_t0.notes SELECT repeat(md5(n::text), 100) FROM generate_series(1, 3000) n";
    admin.batch_execute(large).await.unwrap();
    world.provisioner.update("t5", &agents(10), &Actor::system("test")).await.unwrap();
    world.provisioner.update("t6", &agents(5), &Actor::system("test")).await.unwrap();

    assert_eq!(world.provisioner.quota_percentages().await.unwrap(), [], "nothing was measured yet");
    let measured = world.provisioner.measure(NOW, &[]).await.unwrap();
    assert_eq!((measured.tenants, measured.failed.len(), measured.busy), (7, 0, false));
    assert_eq!(world.provisioner.measure(Duration::from_secs(60), &[]).await.unwrap().tenants, 0, "nobody is due");
    assert_eq!(world.provisioner.measure(Duration::from_secs(60), &["t3".to_owned()]).await.unwrap().tenants, 1);

    let points = world.provisioner.quota_percentages().await.unwrap();
    let mut percents: Vec<(&str, f64)> = points.iter().map(|p| (p.quota_type.as_str(), p.percent)).collect();
    percents.sort_by(|a, b| a.1.total_cmp(&b.1));
    assert_eq!(percents, [("agents", 50.0), ("agents", 120.0)], "the enterprise plan limits nothing else");
    let fleet = world.provisioner.fleet_usage().await.unwrap();
    let order: Vec<&str> = fleet.iter().map(|usage| usage.slug.as_str()).collect();
    assert_eq!(order, ["t6", "t5", "t0", "t1", "t2", "t3", "t4"], "those first that use most");
    let bytes = |slug: &str| fleet.iter().find(|usage| usage.slug == slug).unwrap().quotas[3].used.unwrap();
    assert!(bytes("t0") > bytes("t1") && bytes("t1") > 0, "{} {}", bytes("t0"), bytes("t1"));
    assert_eq!(world.provisioner.usage("t4").await.unwrap().quotas[0].used, Some(4));
    assert!(matches!(world.provisioner.usage("nobody").await, Err(ProvisionError::NotFound(_))));
    let unknown = world.provisioner.measure(NOW, &["nobody".to_owned()]).await;
    assert!(matches!(unknown, Err(ProvisionError::NotFound(_))));
}

#[tokio::test]
async fn a_tenant_that_is_locked_is_left_out_and_nobody_else() {
    let world = world().await;
    for slug in ["acme", "globex", "initech"] {
        world.tenant(slug).await;
    }
    let migration = world.admin().await;
    migration.batch_execute("BEGIN; LOCK TABLE tenant_globex.notes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let measured = world.provisioner.measure(NOW, &[]).await.unwrap();
    assert_eq!((measured.tenants, measured.failed), (2, vec!["globex".to_owned()]));
    migration.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.provisioner.measure(Duration::from_secs(60), &[]).await.unwrap().tenants, 1, "it is still due");
}

#[tokio::test]
async fn one_server_measures_at_a_time() {
    let world = world().await;
    world.tenant("acme").await;
    let other = world.admin().await;
    other.batch_execute("SELECT pg_advisory_lock(7468657468)").await.unwrap();
    assert!(world.provisioner.measure(NOW, &[]).await.unwrap().busy);
    let named = world.provisioner.measure(NOW, &["acme".to_owned()]).await.unwrap();
    assert_eq!((named.busy, named.tenants), (false, 1), "an operator need not wait");
    other.batch_execute("SELECT pg_advisory_unlock(7468657468)").await.unwrap();
    let measured = world.provisioner.measure(NOW, &[]).await.unwrap();
    assert_eq!((measured.busy, measured.tenants), (false, 1));
}

#[tokio::test]
async fn what_is_counted_by_the_month_is_forgotten_with_it() {
    let world = world().await;
    let id = *world.tenant("acme").await.tenant.id.as_uuid();
    let admin = world.admin().await;
    admin
        .execute(
            "INSERT INTO public.tenant_usage (tenant_id, storage_bytes, counters, measured_at) \
             VALUES ($1, 0, '{\"tasks\": 9, \"agents\": 3}', date_trunc('month', now(), 'UTC') - interval '1 second')",
            &[&id],
        )
        .await
        .unwrap();
    let usage = world.provisioner.usage("acme").await.unwrap();
    assert_eq!((usage.quotas[0].used, usage.quotas[1].used), (Some(3), Some(0)));
}

#[tokio::test]
async fn purging_a_tenant_removes_what_was_measured() {
    let world = world().await;
    world.tenant("acme").await;
    world.provisioner.measure(NOW, &[]).await.unwrap();
    let actor = Actor::system("test");
    world.provisioner.delete("acme", chrono::TimeDelta::zero(), &actor).await.unwrap();
    assert_eq!(world.provisioner.fleet_usage().await.unwrap(), []);
    world.provisioner.purge("acme", chrono::TimeDelta::zero(), &actor).await.unwrap();
    let rows = world.admin().await.query("SELECT 1 FROM public.tenant_usage", &[]).await.unwrap();
    assert!(rows.is_empty());
}
