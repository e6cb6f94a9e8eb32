use workforce::agent::{Agent, AgentFilter, AgentOrder, CreateAgent, UpdateAgent};
use workforce::{AgentId, BulkResult};

use super::BulkItem;
use crate::{Call, Change, Client, Collection, Create, Delete, Listed, Resource};

/// Agents: who does the work.
#[derive(Debug)]
pub enum Agents {}

impl Resource for Agents {
    const PATH: &'static str = "/v1/agents";
    type Id = AgentId;
    type Record = Agent;
}

impl Listed for Agents {
    type Filter = AgentFilter;
    type Order = AgentOrder;
}

impl Create for Agents {
    type New = CreateAgent;
}

impl Change for Agents {
    type Change = UpdateAgent;
}

impl Delete for Agents {}

impl Client {
    /// Agents.
    #[must_use]
    pub fn agents(&self) -> Collection<Agents> {
        Collection::new(self.clone())
    }
}

impl Collection<Agents> {
    /// Makes and changes up to 1,000, each with a result of its own, or all or nothing.
    pub fn bulk(&self, atomic: bool, items: &[BulkItem<CreateAgent, AgentId, UpdateAgent>]) -> Call<BulkResult<Agent>> {
        self.many(atomic, items)
    }
}
