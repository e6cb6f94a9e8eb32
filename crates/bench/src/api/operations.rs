//! What is measured, and the requests that do it: both sides get the same.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::{agent_id, slug};
use crate::load::{Call, Method};

/// Rows of every tenant, as `rows.sql` makes them.
const AGENTS: usize = 60;
const TASKS: usize = 120;
/// How often a client reads of each tenant before it begins anew.
const READS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Agents,
    Tasks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    List,
    Read,
    Update,
    Create,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    kind: Kind,
    verb: Verb,
}

/// In this order: what is created comes last, so that every other operation meets as many rows on one side as on the other.
pub(super) fn all() -> Vec<Operation> {
    let verbs = [Verb::List, Verb::Read, Verb::Update, Verb::Create];
    verbs.into_iter().flat_map(|verb| [Kind::Agents, Kind::Tasks].map(|kind| Operation { kind, verb })).collect()
}

impl Operation {
    /// What a server is started up with.
    pub(super) const fn first() -> Self {
        Self { kind: Kind::Tasks, verb: Verb::Read }
    }

    pub(super) const fn is_change(self) -> bool {
        matches!(self.verb, Verb::Update | Verb::Create)
    }

    pub(super) const fn name(self) -> &'static str {
        match (self.kind, self.verb) {
            (Kind::Agents, Verb::List) => "agents_list",
            (Kind::Agents, Verb::Read) => "agents_read",
            (Kind::Agents, Verb::Update) => "agents_update",
            (Kind::Agents, Verb::Create) => "agents_create",
            (Kind::Tasks, Verb::List) => "tasks_list",
            (Kind::Tasks, Verb::Read) => "tasks_read",
            (Kind::Tasks, Verb::Update) => "tasks_update",
            (Kind::Tasks, Verb::Create) => "tasks_create",
        }
    }

    /// Each client's calls: all tenants in an order of its own.
    pub(super) fn calls(self, clients: usize, keys: &[SecretString]) -> Vec<Vec<Call>> {
        let mut random = SmallRng::seed_from_u64(11);
        let turns = if self.verb == Verb::Read { READS } else { 1 };
        (0..clients)
            .map(|client| {
                let mut tenants: Vec<usize> = (0..turns).flat_map(|_| 0..keys.len()).collect();
                tenants.shuffle(&mut random);
                let call = |tenant: usize| Call {
                    key: Some(keys[tenant].expose_secret().to_owned()),
                    tenant: Some(slug(tenant)),
                    ..self.call(client, &mut random)
                };
                tenants.into_iter().map(call).collect()
            })
            .collect()
    }

    fn call(self, client: usize, random: &mut SmallRng) -> Call {
        let (base, row): (_, fn(usize) -> Uuid) = match self.kind {
            Kind::Agents => ("/v1/agents", agent_id),
            Kind::Tasks => ("/v1/tasks", task_id),
        };
        let rows = if self.kind == Kind::Agents { AGENTS } else { TASKS };
        let (method, path) = match self.verb {
            Verb::List => (Method::Get, base.to_owned()),
            Verb::Read => (Method::Get, format!("{base}/{}", row(random.random_range(0..rows)))),
            // A row of its own in each tenant: two clients would refuse each other's versions.
            Verb::Update => (Method::Patch, format!("{base}/{}", row(client))),
            Verb::Create => (Method::Post, base.to_owned()),
        };
        Call { method, path, body: self.body(), ..Call::default() }
    }

    /// `{version}` stands for a number, so it loses its quotes.
    fn body(self) -> Option<String> {
        let body: Value = match (self.verb, self.kind) {
            (Verb::List | Verb::Read, _) => return None,
            (Verb::Update, Kind::Agents) => json!({
                "version": "{version}", "status": "working",
                "personality_prompt": "Careful and brief. Asks before anything leaves the house, {unique}.",
            }),
            (Verb::Update, Kind::Tasks) => json!({
                "version": "{version}", "priority": "urgent", "progress_percent": 50,
                "progress_details": { "step": "{version}", "note": "{unique}" },
            }),
            (Verb::Create, Kind::Agents) => json!({
                "name": "Agent {unique}", "role": "analyst", "capabilities": ["read", "write", "search"],
                "personality_prompt": "Careful and brief. Asks before anything leaves the house.",
            }),
            (Verb::Create, Kind::Tasks) => json!({
                "agent_id": agent_id(0), "title": "Reconcile the ledger, {unique}", "priority": "high",
                "description": "Compare each entry with the bank's, list what differs, and say why. ".repeat(3).trim_end(),
            }),
        };
        Some(body.to_string().replace("\"{version}\"", "{version}"))
    }
}

/// Names the `n`-th task of every tenant.
fn task_id(n: usize) -> Uuid {
    Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + n as u128)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_clients_change_the_same_record() {
        let keys: Vec<SecretString> = (0..5).map(|n| format!("key {n}").into()).collect();
        for operation in all().into_iter().filter(|operation| operation.verb == Verb::Update) {
            let calls: Vec<Call> = operation.calls(8, &keys).into_iter().flatten().collect();
            let records: HashSet<_> = calls.iter().map(|call| (&call.tenant, &call.path)).collect();
            assert_eq!(records.len(), calls.len(), "{}", operation.name());
        }
    }

    #[test]
    fn a_version_is_a_number() {
        for operation in all() {
            let Some(body) = operation.body() else { continue };
            let body = body.replace("{version}", "3");
            let value: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["version"].is_i64(), operation.verb == Verb::Update, "{body}");
        }
    }
}
