//! Tasks: the work, and the machine that says how its status may change.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::checks::{Checks, Valid, Validate};
use crate::dependency::MAX_DEPENDENCIES;
pub use crate::task_list::{TaskFilter, TaskOrder};
use crate::text_enum::text_enum;
use crate::{AgentId, Error, Patch, TaskId, TaskStatus};

pub(crate) const MAX_TITLE_CHARS: usize = 300;
const MAX_DESCRIPTION_BYTES: usize = 64 * 1024;
const MAX_RETRIES: i64 = 100;
const MAX_CLAIM: i64 = 20;

text_enum! {
    /// How urgent a task is.
    pub enum Priority("priority") {
        /// When there is nothing else.
        Low = "low",
        /// In turn.
        Normal = "normal",
        /// Before others.
        High = "high",
        /// At once.
        Urgent = "urgent",
    }
}

impl Priority {
    /// Its place among all, as SQL has it.
    pub(crate) fn rank(self) -> i32 {
        (1..).zip(Self::ALL).find(|(_, priority)| **priority == self).map_or(0, |(rank, _)| rank)
    }
}

/// A task of the company.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Names the task for good.
    #[schema(value_type = Uuid)]
    pub id: TaskId,
    /// Who does it.
    #[schema(value_type = Uuid)]
    pub agent_id: AgentId,
    /// Who gave it.
    #[schema(value_type = Uuid)]
    pub created_by_id: AgentId,
    /// One line.
    pub title: String,
    /// Everything needed to do it.
    pub description: String,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// Where it was before.
    #[schema(required)]
    pub previous_status: Option<TaskStatus>,
    /// How urgent it is.
    pub priority: Priority,
    /// 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    pub progress_percent: i16,
    /// Whatever the agent reports about its progress.
    pub progress_details: Value,
    /// What came out.
    #[schema(required)]
    pub result: Option<Value>,
    /// When it should be done.
    #[schema(required)]
    pub deadline: Option<DateTime<Utc>>,
    /// When the current run was started.
    #[schema(required)]
    pub started_at: Option<DateTime<Utc>>,
    /// When the last run ended, well or not.
    #[schema(required)]
    pub completed_at: Option<DateTime<Utc>>,
    /// What went wrong; kept over a retry.
    #[schema(required)]
    pub error_details: Option<Value>,
    /// Grows by one with every change; an update names the version it is based on.
    pub version: i64,
    /// How often it was retried.
    pub retry_count: i32,
    /// How often it may be retried.
    pub max_retries: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
    /// The provider it should run on, such as `openai`.
    #[schema(required)]
    pub provider: Option<String>,
    /// The account with the provider.
    #[schema(required)]
    pub provider_account_id: Option<Uuid>,
}

/// The body that makes a task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "title": "Answer ticket 4711", "agent_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", "priority": "high",
    "description": "Where are the tents?", "deadline": "2026-11-30T17:00:00Z" }))]
pub struct CreateTask {
    /// Who does it: a live agent.
    #[schema(value_type = Uuid)]
    pub agent_id: AgentId,
    /// Who gives it: a live agent; the one who does it unless given.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    pub created_by_id: Option<AgentId>,
    /// 1 to 300 characters.
    #[schema(min_length = 1, max_length = 300, example = "Answer ticket 4711")]
    pub title: String,
    /// At most 64 KiB.
    #[serde(default)]
    pub description: String,
    /// `normal` unless given.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// When it should be done.
    #[serde(default)]
    pub deadline: Option<DateTime<Utc>>,
    /// 0 to 100; 3 unless given.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100)]
    pub max_retries: Option<i32>,
    /// The provider it should run on.
    #[serde(default)]
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// The account with the provider.
    #[serde(default)]
    pub provider_account_id: Option<Uuid>,
    /// The tasks that must be completed before this one can be started: live ones, at most 100.
    #[serde(default)]
    #[schema(value_type = Vec<Uuid>, required = false, max_items = 100)]
    pub depends_on: Vec<TaskId>,
}

impl CreateTask {
    /// A task for an agent, with the defaults otherwise.
    #[must_use]
    pub fn new(agent_id: AgentId, title: impl Into<String>) -> Self {
        Self {
            agent_id,
            created_by_id: None,
            title: title.into(),
            description: String::new(),
            priority: None,
            deadline: None,
            max_retries: None,
            provider: None,
            provider_account_id: None,
            depends_on: Vec::new(),
        }
    }
}

impl Validate for CreateTask {
    fn check(&self, checks: &mut Checks) {
        checks.line("/title", &self.title, MAX_TITLE_CHARS);
        checks.prose("/description", &self.description, MAX_DESCRIPTION_BYTES);
        if let Some(deadline) = self.deadline {
            checks.instant("/deadline", deadline);
        }
        if let Some(retries) = self.max_retries {
            checks.number("/max_retries", retries.into(), 0..=MAX_RETRIES);
        }
        if let Some(provider) = &self.provider {
            checks.provider("/provider", provider);
        }
        if self.depends_on.len() > MAX_DEPENDENCIES {
            let count = self.depends_on.len();
            checks.fail("/depends_on", format!("must have at most {MAX_DEPENDENCIES} items, has {count}"));
            return;
        }
        for (i, task) in self.depends_on.iter().enumerate() {
            if self.depends_on[..i].contains(task) {
                checks.fail(format!("/depends_on/{i}"), "must not be named twice");
            }
        }
    }
}

/// The body that asks for work.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "agent_id": "0192f0a1-7e3c-7b52-9c1e-3f1d2a4b5c6d" }))]
pub struct ClaimTasks {
    /// Who wants to work: a live agent that is not offline. It gets only tasks of its own.
    #[schema(value_type = Uuid)]
    pub agent_id: AgentId,
    /// How many tasks at most, 1 to 20; 1 unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 20)]
    pub limit: Option<u8>,
}

impl Validate for ClaimTasks {
    fn check(&self, checks: &mut Checks) {
        if let Some(limit) = self.limit {
            checks.number("/limit", limit.into(), 1..=MAX_CLAIM);
        }
    }
}

/// The tasks that were handed out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimedTasks {
    /// In the order in which they should be done; none when there is nothing to do at present.
    pub data: Vec<Task>,
}

/// The body that changes a task: a merge patch. Absent members stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1, "status": "in_progress", "progress_percent": 40, "progress_details": { "step": "asked the warehouse" } }))]
pub struct UpdateTask {
    /// The version this change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Hands the task to another live agent.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Uuid, required = false)]
    pub agent_id: Patch<AgentId>,
    /// A new title.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 300)]
    pub title: Patch<String>,
    /// A new description; `null` empties it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// A new priority.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Priority, required = false)]
    pub priority: Patch<Priority>,
    /// A status that may follow the present one.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = TaskStatus, required = false)]
    pub status: Patch<TaskStatus>,
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = i16, required = false, minimum = 0, maximum = 100)]
    pub progress_percent: Patch<i16>,
    /// Any JSON; `null` empties it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Value>)]
    pub progress_details: Patch<Value>,
    /// Any JSON; `null` clears it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Value>)]
    pub result: Patch<Value>,
    /// Any JSON; `null` clears it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Value>)]
    pub error_details: Patch<Value>,
    /// A new deadline; `null` for none.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub deadline: Patch<DateTime<Utc>>,
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = i32, required = false, minimum = 0, maximum = 100)]
    pub max_retries: Patch<i32>,
    /// The provider it should run on; `null` for any.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub provider: Patch<String>,
    /// The account with the provider; `null` for none.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Uuid>)]
    pub provider_account_id: Patch<Uuid>,
}

impl UpdateTask {
    /// The members that the patch names, for the audit trail (values stay out of it).
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("agent_id", self.agent_id.is_named()),
            ("title", self.title.is_named()),
            ("description", self.description.is_named()),
            ("priority", self.priority.is_named()),
            ("status", self.status.is_named()),
            ("progress_percent", self.progress_percent.is_named()),
            ("progress_details", self.progress_details.is_named()),
            ("result", self.result.is_named()),
            ("error_details", self.error_details.is_named()),
            ("deadline", self.deadline.is_named()),
            ("max_retries", self.max_retries.is_named()),
            ("provider", self.provider.is_named()),
            ("provider_account_id", self.provider_account_id.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateTask {
    fn check(&self, checks: &mut Checks) {
        let _ = checks.required("/agent_id", &self.agent_id);
        if let Some(title) = checks.required("/title", &self.title) {
            checks.line("/title", title, MAX_TITLE_CHARS);
        }
        if let Some(description) = self.description.value() {
            checks.prose("/description", description, MAX_DESCRIPTION_BYTES);
        }
        let _ = checks.required("/priority", &self.priority);
        let _ = checks.required("/status", &self.status);
        if let Some(percent) = checks.required("/progress_percent", &self.progress_percent) {
            checks.number("/progress_percent", (*percent).into(), 0..=100);
        }
        let values = [
            ("/progress_details", &self.progress_details),
            ("/result", &self.result),
            ("/error_details", &self.error_details),
        ];
        for (pointer, patch) in values {
            if let Some(value) = patch.value() {
                checks.json(pointer, value);
            }
        }
        if let Some(deadline) = self.deadline.value() {
            checks.instant("/deadline", *deadline);
        }
        if let Some(retries) = checks.required("/max_retries", &self.max_retries) {
            checks.number("/max_retries", (*retries).into(), 0..=MAX_RETRIES);
        }
        if let Some(provider) = self.provider.value() {
            checks.provider("/provider", provider);
        }
    }
}

impl Task {
    /// Applies a patch: the members first, then the step of the machine. `now` is the database's clock.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] when the present status does not allow the new one; the task is then of no use.
    pub fn apply(&mut self, patch: &Valid<UpdateTask>, now: DateTime<Utc>) -> Result<(), Error> {
        patch.agent_id.apply_required(&mut self.agent_id);
        patch.title.apply_required(&mut self.title);
        apply_or(&patch.description, &mut self.description, String::new);
        patch.priority.apply_required(&mut self.priority);
        apply_or(&patch.progress_details, &mut self.progress_details, || Value::Object(serde_json::Map::new()));
        patch.result.apply(&mut self.result);
        patch.error_details.apply(&mut self.error_details);
        patch.deadline.apply(&mut self.deadline);
        patch.max_retries.apply_required(&mut self.max_retries);
        patch.provider.apply(&mut self.provider);
        patch.provider_account_id.apply(&mut self.provider_account_id);
        if let Some(status) = patch.status.value() {
            self.step(*status, now)?;
        }
        // After the step, so that a percentage given with it wins over the one the step implies.
        patch.progress_percent.apply_required(&mut self.progress_percent);
        Ok(())
    }

    /// Starts the task.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] when its status does not allow it.
    pub(crate) fn start(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        self.step(TaskStatus::InProgress, now)
    }

    /// The statuses this task may take next; a failed task without retries left may take none.
    #[must_use]
    pub fn allowed_next(&self) -> &'static [TaskStatus] {
        if self.status == TaskStatus::Failed && self.retry_count >= self.max_retries {
            return &[];
        }
        self.status.successors()
    }

    /// One step of the machine. A step to the present status changes nothing, so that a repeated request is harmless.
    fn step(&mut self, next: TaskStatus, now: DateTime<Utc>) -> Result<(), Error> {
        if next == self.status {
            return Ok(());
        }
        let allowed = self.allowed_next();
        if !allowed.contains(&next) {
            return Err(Error::IllegalTransition {
                from: self.status,
                to: next,
                allowed,
                retries: (self.retry_count, self.max_retries),
            });
        }
        if self.status == TaskStatus::Failed {
            self.retry_count += 1;
            self.started_at = None;
            self.completed_at = None;
            self.progress_percent = 0;
        }
        if next == TaskStatus::InProgress && self.started_at.is_none() {
            self.started_at = Some(now);
        }
        if next.is_end() {
            self.completed_at = Some(now);
        }
        if next == TaskStatus::Completed {
            self.progress_percent = 100;
        }
        self.previous_status = Some(self.status);
        self.status = next;
        Ok(())
    }
}

fn apply_or<T: Clone>(patch: &Patch<T>, target: &mut T, empty: impl FnOnce() -> T) {
    match patch {
        Patch::Clear => *target = empty(),
        Patch::Keep | Patch::Set(_) => patch.apply_required(target),
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
