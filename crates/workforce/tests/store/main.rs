//! The store on a real tenant schema.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod activity;
mod agents;
mod baseline;
mod claims;
mod dependencies;
mod lists;
mod messages;
mod scheduler;
mod schedules;
mod sessions;
mod statements;
mod tasks;
mod threads;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tenantry_http::Limit;
use tenantry_postgres::{TenantContext, TenantTx};
use testkit::{World, WorldConfig};
use workforce::agent::Agent;
use workforce::store::{agents as agent_store, tasks as task_store};
use workforce::task::Task;
use workforce::{Error, Order, Page, Place, Valid, Validate};

/// One company in a world of its own.
struct Company {
    world: World,
    context: TenantContext,
}

impl Company {
    async fn start() -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        world.tenant("acme").await;
        let context = world.context("acme").await;
        Self { world, context }
    }

    async fn begin(&self) -> TenantTx {
        self.world.db.begin(&self.context).await.unwrap()
    }

    async fn single(&self) -> TenantTx {
        self.world.db.single(&self.context).await.unwrap()
    }

    async fn agent(&self, name: &str) -> Agent {
        self.try_agent(json!({ "name": name, "role": "support" })).await.unwrap()
    }

    async fn try_agent(&self, new: Value) -> Result<Agent, Error> {
        let mut tx = self.begin().await;
        let agent = agent_store::create(&mut tx, &body(new)).await?;
        tx.commit().await?;
        Ok(agent)
    }

    async fn change_agent(&self, agent: &Agent, change: Value) -> Result<Agent, Error> {
        let mut tx = self.begin().await;
        let agent = agent_store::update(&mut tx, agent.id, agent.version, &body(change)).await?;
        tx.commit().await?;
        Ok(agent)
    }

    async fn delete_agent(&self, agent: &Agent, expected: Option<i64>) -> Result<(), Error> {
        let mut tx = self.begin().await;
        agent_store::delete(&mut tx, agent.id, expected).await?;
        Ok(tx.commit().await?)
    }

    async fn task(&self, agent: &Agent, title: &str) -> Task {
        self.try_task(json!({ "agent_id": agent.id, "title": title })).await.unwrap()
    }

    async fn try_task(&self, new: Value) -> Result<Task, Error> {
        let mut tx = self.begin().await;
        let task = task_store::create(&mut tx, &body(new)).await?;
        tx.commit().await?;
        Ok(task)
    }

    async fn change_task(&self, task: &Task, change: Value) -> Result<Task, Error> {
        let mut tx = self.begin().await;
        let task = task_store::update(&mut tx, task.id, task.version, &body(change)).await?;
        tx.commit().await?;
        Ok(task)
    }

    async fn delete_task(&self, task: &Task, expected: Option<i64>) -> Result<(), Error> {
        let mut tx = self.begin().await;
        task_store::delete(&mut tx, task.id, expected).await?;
        Ok(tx.commit().await?)
    }

    /// The actions in the audit table since the tenant was made.
    async fn audited(&self) -> Vec<String> {
        let sql = "SELECT action FROM audit.events WHERE action NOT LIKE 'tenant.%' ORDER BY id";
        self.world.admin().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

/// A body as a request brings it.
fn body<T: DeserializeOwned + Validate>(value: Value) -> Valid<T> {
    serde_json::from_value::<T>(value).unwrap().validated().unwrap()
}

fn limit(rows: i64) -> Limit {
    Limit::from_query(Some(rows)).unwrap()
}

/// Where the page after this one begins.
fn after<T>(page: &Page<T>, order: impl Order) -> Option<Place> {
    page.next_cursor.as_deref().map(|cursor| Place::decode(cursor, order).unwrap())
}
