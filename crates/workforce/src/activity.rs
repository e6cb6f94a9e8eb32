//! The activity log: what agents did, appended as it happened and never changed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::checks::{Checks, Validate};
use crate::time_order::time_order;
use crate::{ActivityId, AgentId, Record, TaskId};

pub(crate) const MAX_ACTION_CHARS: usize = 200;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Names the entry for good.
    #[schema(value_type = uuid::Uuid)]
    pub id: ActivityId,
    /// Who did it.
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// On which task.
    #[schema(value_type = Option<uuid::Uuid>, required)]
    pub task_id: Option<TaskId>,
    /// What was done.
    pub action: String,
    /// Whatever else is to be said about it.
    pub details: Value,
    /// When it was written, by the server's clock.
    pub timestamp: DateTime<Utc>,
}

impl Record for Activity {
    const FIELDS: &'static [&'static str] = &["id", "agent_id", "task_id", "action", "details", "timestamp"];
}

time_order! {
    /// In what order the log is listed.
    ActivityOrder of Activity in Activity by timestamp: "-timestamp", "timestamp"
}

/// The body that appends to the log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "agent_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", "action": "ticket.answered", "details": { "ticket": 4711 } }))]
pub struct CreateActivity {
    /// Who did it: a live agent.
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// On which task, whoever has it; a deleted one as well, because what was done stays done.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub task_id: Option<TaskId>,
    /// 1 to 200 characters, best a short word that can be searched for.
    #[schema(min_length = 1, max_length = 200, example = "ticket.answered")]
    pub action: String,
    /// Any JSON of at most 64 KiB; an empty object unless given.
    #[serde(default = "nothing")]
    #[schema(value_type = Object)]
    pub details: Value,
}

fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Validate for CreateActivity {
    fn check(&self, checks: &mut Checks) {
        checks.line("/action", &self.action, MAX_ACTION_CHARS);
        checks.json("/details", &self.details);
    }
}

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct ActivityFilter {
    /// Only of this agent.
    pub agent_id: Option<AgentId>,
    /// Only on this task.
    pub task_id: Option<TaskId>,
    /// Only these actions; empty is all.
    pub actions: Vec<String>,
    /// Only those written at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those written before this instant.
    pub until: Option<DateTime<Utc>>,
}
