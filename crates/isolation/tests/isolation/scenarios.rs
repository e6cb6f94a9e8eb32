//! The approved design's four scenarios, under their names.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it ends")]

use isolation::backends::eventually;
use tenantry_core::Slug;
use tenantry_http::Limit;
use tenantry_postgres::{AccessError, Actor};
use testkit::{World, WorldConfig};
use workforce::AgentId;
use workforce::Validate as _;
use workforce::agent::{Agent, AgentFilter, AgentOrder, CreateAgent};
use workforce::store::{agents, tasks};
use workforce::task::{CreateTask, TaskFilter, TaskOrder};

async fn alice_and_bob() -> World {
    let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
    world.tenant("alice-test").await;
    world.tenant("bob-test").await;
    world
}

async fn agent(world: &World, slug: &str, name: &str) -> Agent {
    let new: CreateAgent = serde_json::from_value(serde_json::json!({ "name": name, "role": "developer" })).unwrap();
    let mut tx = world.db.begin(&world.context(slug).await).await.unwrap();
    let agent = agents::create(&mut tx, &new.validated().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    agent
}

#[tokio::test]
async fn should_isolate_agents_between_tenants() {
    let world = alice_and_bob().await;
    let alices = agent(&world, "alice-test", "Alice Agent").await;
    let bobs = agent(&world, "bob-test", "Bob Agent").await;
    for (slug, own, other) in [("alice-test", &alices, &bobs), ("bob-test", &bobs, &alices)] {
        let context = world.context(slug).await;
        let mut tx = world.db.read_only(&context).await.unwrap();
        let page =
            agents::list(&mut tx, &AgentFilter::default(), AgentOrder::Newest, None, Limit::from_query(None).unwrap())
                .await
                .unwrap();
        assert_eq!(page.data.iter().map(|a| a.id).collect::<Vec<_>>(), [own.id], "{slug} sees its own agent only");
        assert!(agents::find(&mut tx, other.id, true).await.is_err(), "{slug} does not find the other's agent by id");
    }
}

#[tokio::test]
async fn should_prevent_cross_tenant_task_access() {
    let world = alice_and_bob().await;
    agent(&world, "alice-test", "Alice Agent").await;
    let bobs: AgentId = agent(&world, "bob-test", "Bob Agent").await.id;
    let secret = serde_json::json!({
        "agent_id": bobs, "created_by_id": bobs, "title": "Secret Project", "description": "Confidential data",
    });
    let new: CreateTask = serde_json::from_value(secret).unwrap();
    let mut tx = world.db.begin(&world.context("bob-test").await).await.unwrap();
    let task = tasks::create(&mut tx, &new.validated().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.db.read_only(&world.context("alice-test").await).await.unwrap();
    let page = tasks::list(&mut tx, &TaskFilter::default(), TaskOrder::Newest, None, Limit::from_query(None).unwrap())
        .await
        .unwrap();
    assert!(page.data.is_empty());
    assert!(tasks::find(&mut tx, task.id, true).await.is_err());
}

#[tokio::test]
async fn should_validate_tenant_status_before_granting_access() {
    let world = alice_and_bob().await;
    let slug: Slug = "alice-test".parse().unwrap();
    let before = world.context("alice-test").await;
    world.provisioner.suspend("alice-test", &Actor::system("test")).await.unwrap();
    eventually("the suspension is heard", async || world.registry.system_context(&slug, "test").await.is_err()).await;
    let refused = world.registry.system_context(&slug, "test").await.unwrap_err();
    assert!(matches!(refused, AccessError::Inactive { .. }), "{refused}");
    assert!(world.db.single(&before).await.is_err(), "a context from before opens nothing either");
    world.provisioner.resume("alice-test", &Actor::system("test")).await.unwrap();
}

#[tokio::test]
async fn should_prevent_sql_injection_in_tenant_slug() {
    let world = alice_and_bob().await;
    assert!("test'; DROP SCHEMA tenant_bob_test; --".parse::<Slug>().is_err(), "no such slug can be made");
    // Where a slug is still text, it is a parameter.
    assert!(world.provisioner.show("test'; DROP SCHEMA tenant_bob_test; --").await.is_err());
    assert!(world.provisioner.show("bob-test").await.is_ok());
}
