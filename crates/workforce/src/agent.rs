//! Agents: who does the work.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::checks::{Checks, Validate};
use crate::text_enum::text_enum;
use crate::{AgentId, Key, List, Order, Patch, Place, Record, TaskId};

pub(crate) const MAX_NAME_CHARS: usize = 200;
pub(crate) const MAX_ROLE_CHARS: usize = 100;
const MAX_PROMPT_BYTES: usize = 32 * 1024;
const MAX_CAPABILITIES: usize = 100;
const MAX_CAPABILITY_CHARS: usize = 100;

text_enum! {
    /// What an agent is doing.
    pub enum AgentStatus("agent status") {
        /// Ready for work.
        Idle = "idle",
        /// On a task.
        Working = "working",
        /// On a task that waits for something.
        Blocked = "blocked",
        /// Not to be given work.
        Offline = "offline",
    }
}

/// An agent of the company.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Names the agent for good.
    #[schema(value_type = uuid::Uuid)]
    pub id: AgentId,
    /// Unique among the company's live agents.
    pub name: String,
    /// What the agent is for, such as `support`.
    pub role: String,
    /// How the agent is told to behave.
    pub personality_prompt: String,
    /// What the agent is doing.
    pub status: AgentStatus,
    /// The task the agent is on.
    #[schema(value_type = Option<uuid::Uuid>, required)]
    pub current_task_id: Option<TaskId>,
    /// What the agent can do.
    pub capabilities: Vec<String>,
    /// What the agent may do with which tool.
    #[schema(value_type = Object)]
    pub tool_permissions: Map<String, Value>,
    /// Grows by one with every change; an update names the version it is based on.
    pub version: i64,
    /// When the agent was made.
    pub created_at: DateTime<Utc>,
    /// When the agent was last changed.
    pub updated_at: DateTime<Utc>,
    /// When the agent was deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// The body that makes an agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Mira", "role": "support", "personality_prompt": "Helpful, brief, never promises a date.",
    "capabilities": ["tickets"], "tool_permissions": { "orders": "read" } }))]
pub struct CreateAgent {
    /// 1 to 200 characters, unique among live agents.
    #[schema(min_length = 1, max_length = 200, example = "Mira")]
    pub name: String,
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "support")]
    pub role: String,
    /// At most 32 KiB.
    #[serde(default)]
    #[schema(example = "Helpful, brief, never promises a date.")]
    pub personality_prompt: String,
    /// `idle` unless given.
    #[serde(default)]
    pub status: Option<AgentStatus>,
    /// At most 100, each 1 to 100 characters.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub capabilities: Vec<String>,
    /// Tool to permission.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub tool_permissions: Map<String, Value>,
}

impl Validate for CreateAgent {
    fn check(&self, checks: &mut Checks) {
        checks.line("/name", &self.name, MAX_NAME_CHARS);
        checks.line("/role", &self.role, MAX_ROLE_CHARS);
        checks.prose("/personality_prompt", &self.personality_prompt, MAX_PROMPT_BYTES);
        check_capabilities(checks, &self.capabilities);
        check_permissions(checks, &self.tool_permissions);
    }
}

/// The body that changes an agent: a merge patch. Absent members stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "role": "support lead", "status": "idle" }))]
pub struct UpdateAgent {
    /// The version this change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// A new name.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Patch<String>,
    /// A new role.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100)]
    pub role: Patch<String>,
    /// A new prompt; `null` empties it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub personality_prompt: Patch<String>,
    /// A new status.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = AgentStatus, required = false)]
    pub status: Patch<AgentStatus>,
    /// The task the agent is on, one of its own; `null` for none.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub current_task_id: Patch<TaskId>,
    /// All capabilities anew; `null` removes all.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>)]
    pub capabilities: Patch<Vec<String>>,
    /// All permissions anew; `null` removes all.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Object>)]
    pub tool_permissions: Patch<Map<String, Value>>,
}

impl UpdateAgent {
    /// The members that the patch names, for the audit trail (values stay out of it).
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("name", self.name.is_named()),
            ("role", self.role.is_named()),
            ("personality_prompt", self.personality_prompt.is_named()),
            ("status", self.status.is_named()),
            ("current_task_id", self.current_task_id.is_named()),
            ("capabilities", self.capabilities.is_named()),
            ("tool_permissions", self.tool_permissions.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateAgent {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = checks.required("/name", &self.name) {
            checks.line("/name", name, MAX_NAME_CHARS);
        }
        if let Some(role) = checks.required("/role", &self.role) {
            checks.line("/role", role, MAX_ROLE_CHARS);
        }
        let _ = checks.required("/status", &self.status);
        if let Some(prompt) = self.personality_prompt.value() {
            checks.prose("/personality_prompt", prompt, MAX_PROMPT_BYTES);
        }
        if let Some(capabilities) = self.capabilities.value() {
            check_capabilities(checks, capabilities);
        }
        if let Some(permissions) = self.tool_permissions.value() {
            check_permissions(checks, permissions);
        }
    }
}

fn check_capabilities(checks: &mut Checks, capabilities: &[String]) {
    if capabilities.len() > MAX_CAPABILITIES {
        checks.fail("/capabilities", format!("must have at most {MAX_CAPABILITIES} items, has {}", capabilities.len()));
        return;
    }
    for (i, capability) in capabilities.iter().enumerate() {
        checks.line(&format!("/capabilities/{i}"), capability, MAX_CAPABILITY_CHARS);
    }
}

fn check_permissions(checks: &mut Checks, permissions: &Map<String, Value>) {
    checks.json("/tool_permissions", &Value::Object(permissions.clone()));
}

impl Record for Agent {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "role",
        "personality_prompt",
        "status",
        "current_task_id",
        "capabilities",
        "tool_permissions",
        "version",
        "created_at",
        "updated_at",
        "deleted_at",
    ];
}

text_enum! {
    /// In what order agents are listed. A minus turns the order round: the latest or the last in the alphabet first.
    pub enum AgentOrder("order") {
        /// The newest first.
        Newest = "-created_at",
        /// The oldest first.
        Oldest = "created_at",
        /// What was changed last first.
        JustChanged = "-updated_at",
        /// What was changed longest ago first.
        LongUnchanged = "updated_at",
        /// By name, upper and lower case alike.
        Name = "name",
        /// By name, from the end of the alphabet.
        NameBackwards = "-name",
    }
}

impl Order for AgentOrder {
    const LIST: List = List::Agents;

    fn code(self) -> u8 {
        self as u8
    }
}

impl AgentOrder {
    pub(crate) fn place(self, agent: &Agent) -> Place {
        let key = match self {
            Self::Newest | Self::Oldest => Key::Time(agent.created_at),
            Self::JustChanged | Self::LongUnchanged => Key::Time(agent.updated_at),
            Self::Name | Self::NameBackwards => Key::Text(agent.name.clone()),
        };
        Place { key, id: *agent.id.as_uuid() }
    }
}

/// Which agents a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentFilter {
    /// Only with one of these statuses; none means any.
    pub status: Vec<AgentStatus>,
    /// Only with exactly this role.
    pub role: Option<String>,
    /// Only names that start with this, upper and lower case alike.
    pub name_prefix: Option<String>,
    /// Only with this somewhere in the name or the role, upper and lower case alike.
    pub search: Option<String>,
    /// Only made at this instant or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Only made before this instant.
    pub created_before: Option<DateTime<Utc>>,
    /// Deleted ones as well.
    pub include_deleted: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Error;

    fn pointers(result: Result<crate::Valid<impl Sized + std::fmt::Debug>, Error>) -> Vec<String> {
        match result {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.into_iter().map(|e| e.pointer).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    fn create(body: Value) -> Result<crate::Valid<CreateAgent>, Error> {
        serde_json::from_value::<CreateAgent>(body).unwrap().validated()
    }

    fn update(body: Value) -> Result<crate::Valid<UpdateAgent>, Error> {
        serde_json::from_value::<UpdateAgent>(body).unwrap().validated()
    }

    #[test]
    fn name_and_role_are_enough() {
        let agent = create(json!({"name": "Mira", "role": "support"})).unwrap();
        assert!(agent.capabilities.is_empty() && agent.status.is_none());
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let body = json!({
            "name": "", "role": "x".repeat(101), "personality_prompt": "x".repeat(32 * 1024 + 1),
            "capabilities": ["fine", ""], "tool_permissions": {"a": "\0"},
        });
        assert_eq!(
            pointers(create(body)),
            ["/name", "/role", "/personality_prompt", "/capabilities/1", "/tool_permissions"]
        );
        let many = vec!["c"; 101];
        assert_eq!(pointers(create(json!({"name": "a", "role": "b", "capabilities": many}))), ["/capabilities"]);
    }

    #[test]
    fn lengths_at_the_bound_are_fine() {
        let body = json!({
            "name": "ä".repeat(200), "role": "x".repeat(100), "personality_prompt": "x".repeat(32 * 1024),
            "capabilities": vec!["c".repeat(100); 100],
        });
        assert!(create(body).is_ok());
    }

    #[test]
    fn unknown_members_are_refused() {
        assert!(serde_json::from_value::<CreateAgent>(json!({"name": "a", "role": "b", "tenant_id": 1})).is_err());
        assert!(serde_json::from_value::<UpdateAgent>(json!({"nmae": "a"})).is_err());
    }

    #[test]
    fn only_nullable_members_take_null() {
        assert_eq!(
            pointers(update(json!({"name": null, "role": null, "status": null}))),
            ["/name", "/role", "/status"]
        );
        let cleared = json!({"personality_prompt": null, "current_task_id": null, "capabilities": null, "tool_permissions": null});
        assert_eq!(update(cleared).unwrap().named().len(), 4);
    }

    #[test]
    fn words_are_the_same_in_json_and_in_the_database() {
        for status in AgentStatus::ALL {
            assert_eq!(json!(status), json!(status.as_str()));
            assert_eq!(status.as_str().parse::<AgentStatus>().unwrap(), *status);
        }
        let unknown = "Idle".parse::<AgentStatus>().unwrap_err().to_string();
        let words = "`idle`, `working`, `blocked`, `offline`";
        assert_eq!(unknown, format!("`Idle` is not an accepted agent status, expected one of {words}"));
    }
}
