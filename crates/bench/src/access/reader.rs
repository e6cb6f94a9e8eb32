//! The ways to read an agent: unscoped, scoped by us, and scoped the usual way.

use std::sync::Arc;

use anyhow::ensure;
use rand::Rng as _;
use rand::rngs::SmallRng;
use tenantry_postgres::TenantDb;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};
use workforce::store::agents::FIND_AGENT;

use crate::ground::{AGENTS, Ground, agent_id};

use super::CLIENTS;
use super::fleet::{Fleet, Pattern};

/// One way to read, for all clients.
#[derive(Clone)]
pub(super) struct Reader {
    way: Way,
    fleet: Arc<Fleet>,
    pattern: Pattern,
}

impl Reader {
    /// The server's process.
    pub(super) fn server(&self) -> Option<i32> {
        self.fleet.server
    }
}

#[derive(Clone)]
enum Way {
    Unscoped(Arc<[(Client, Statement)]>),
    Scoped(TenantDb),
    Naive(Arc<[(Client, Statement)]>),
    Pipelined(Arc<[(Client, Statement)]>),
}

/// A client's place at the load.
pub(super) struct Seat {
    reader: Reader,
    client: usize,
}

impl Reader {
    pub(super) fn scoped(db: &TenantDb, fleet: &Arc<Fleet>, pattern: Pattern) -> Self {
        Self { way: Way::Scoped(db.clone()), fleet: Arc::clone(fleet), pattern }
    }

    pub(super) fn seat(&self, client: usize) -> Seat {
        Seat { reader: self.clone(), client }
    }
}

impl Seat {
    /// One read, and a look at whose row came.
    pub(super) async fn read(&mut self, random: &mut SmallRng) -> anyhow::Result<()> {
        let fleet = &self.reader.fleet;
        let id = agent_id(random.random_range(0..AGENTS));
        let member = match &self.reader.way {
            Way::Unscoped(_) => &fleet.members[0],
            _ => fleet.pick(self.reader.pattern, self.client, random),
        };
        let row = match &self.reader.way {
            Way::Unscoped(connections) => {
                let (client, statement) = &connections[self.client];
                client.query_one(statement, &[&id, &false]).await?
            }
            Way::Scoped(db) => {
                let mut tx = db.single(&member.context).await?;
                tx.query_one(&FIND_AGENT, &[&id, &false]).await?
            }
            Way::Naive(connections) => {
                let (client, statement) = &connections[self.client];
                client.batch_execute("BEGIN").await?;
                client.batch_execute(&format!("SET LOCAL ROLE {}", member.role)).await?;
                client.batch_execute(&format!("SET LOCAL search_path = {}", member.schema)).await?;
                let row = client.query_one(statement, &[&id, &false]).await?;
                client.batch_execute("COMMIT").await?;
                row
            }
            Way::Pipelined(connections) => {
                let (client, _) = &connections[self.client];
                let scope = format!("BEGIN;SET LOCAL ROLE {};SET LOCAL search_path = {}", member.role, member.schema);
                let text = unqualified();
                let params: [(&(dyn ToSql + Sync), Type); 2] = [(&id, Type::UUID), (&false, Type::BOOL)];
                let (scope, rows, commit) = tokio::join!(
                    biased;
                    client.batch_execute(&scope),
                    client.query_typed(&text, &params),
                    client.batch_execute("COMMIT"),
                );
                scope?;
                commit?;
                rows?.pop().ok_or_else(|| anyhow::anyhow!("no row"))?
            }
        };
        ensure!(owner(&row) == member.mark, "a row of `{}` came for `{}`", owner(&row), member.mark);
        Ok(())
    }
}

/// Whose row it is, from the agent's name.
fn owner(row: &Row) -> &str {
    row.get::<_, &str>(1).split(' ').next().unwrap_or_default()
}

fn unqualified() -> String {
    FIND_AGENT.sql().replace("tenant.", "")
}

/// The connections that belong to no pool: one for each client and way, of the superuser.
pub(super) struct Plain {
    unscoped: Arc<[(Client, Statement)]>,
    shared: Arc<[(Client, Statement)]>,
    fleet: Arc<Fleet>,
}

impl Plain {
    pub(super) async fn connect(ground: &Ground, fleet: &Arc<Fleet>) -> anyhow::Result<Self> {
        let first = &fleet.members[0];
        let fixed = FIND_AGENT.sql().replace("tenant.", &format!("{}.", first.schema));
        let (mut unscoped, mut shared) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            let client = ground.admin().await?;
            let statement = client.prepare(&fixed).await?;
            unscoped.push((client, statement));
            let client = ground.admin().await?;
            client.batch_execute(&format!("SET search_path = {}", first.schema)).await?;
            let statement = client.prepare(&unqualified()).await?;
            shared.push((client, statement));
        }
        Ok(Self { unscoped: unscoped.into(), shared: shared.into(), fleet: Arc::clone(fleet) })
    }

    pub(super) fn unscoped(&self) -> Reader {
        self.reader(Way::Unscoped(Arc::clone(&self.unscoped)), Pattern::Hot)
    }

    /// The usual ways in the order naive hot, naive uniform, pipelined hot, pipelined uniform.
    pub(super) fn usual(&self, at: usize) -> Reader {
        let pattern = if at.is_multiple_of(2) { Pattern::Hot } else { Pattern::Uniform };
        let shared = Arc::clone(&self.shared);
        self.reader(if at < 2 { Way::Naive(shared) } else { Way::Pipelined(shared) }, pattern)
    }

    fn reader(&self, way: Way, pattern: Pattern) -> Reader {
        Reader { way, fleet: Arc::clone(&self.fleet), pattern }
    }
}
