//! Schedules: tasks that come back, and what becomes of a schedule when one of its runs is due.

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenantry_core::calendar::Tz;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::checks::{Checks, Valid, Validate};
use crate::cron::Cron;
use crate::task::{CreateTask, Priority};
use crate::text_enum::text_enum;
use crate::{AgentId, Error, Key, List, Order, Patch, Place, Record, ScheduleId, TaskId};

const MAX_NAME_CHARS: usize = 200;
/// How many runs ahead a schedule shows.
const SHOWN_RUNS: usize = 5;
/// A deadline a year after its run is no deadline.
const MAX_DEADLINE_SECONDS: i64 = 366 * 24 * 3600;
/// The longest that a schedule which fails waits for its next run.
const LONGEST_PAUSE: TimeDelta = TimeDelta::days(1);

/// An instant, for machines and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// In UTC.
    #[schema(example = "2026-03-30T07:00:00Z")]
    pub utc: DateTime<Utc>,
    /// As the clocks of the schedule's zone show it, with the offset of that day.
    #[schema(value_type = String, format = DateTime, example = "2026-03-30T09:00:00+02:00")]
    pub local: DateTime<FixedOffset>,
}

impl Run {
    pub(crate) fn at(utc: DateTime<Utc>, zone: Tz) -> Self {
        Self { utc, local: utc.with_timezone(&zone).fixed_offset() }
    }
}

/// Why the last run made no task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunFailure {
    /// The code that making the task by hand would be refused with.
    #[schema(example = "unknown_agent")]
    pub code: String,
    /// In words.
    pub detail: String,
    /// When that was.
    pub at: DateTime<Utc>,
}

/// A schedule of the company.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Names the schedule for good.
    #[schema(value_type = Uuid)]
    pub id: ScheduleId,
    /// Who does its tasks.
    #[schema(value_type = Uuid)]
    pub agent_id: AgentId,
    /// One line.
    pub name: String,
    /// When it is due: five fields of cron, or a nickname such as `@daily`.
    #[schema(example = "0 9 * * MON-FRI")]
    pub cron_expression: String,
    /// The zone whose clocks the expression is about.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// What its tasks are made of.
    #[schema(value_type = TaskTemplate)]
    pub task_template: Value,
    /// Whether it is due at all.
    pub enabled: bool,
    /// The next five runs, as far as they are known; none while it is not enabled.
    pub next_runs: Vec<Run>,
    /// When it made a task last, or tried to.
    #[schema(required)]
    pub last_run_at: Option<DateTime<Utc>>,
    /// When it is due next.
    #[schema(required)]
    pub next_run_at: Option<DateTime<Utc>>,
    /// The task of its last run that made one.
    #[schema(required, value_type = Option<Uuid>)]
    pub last_task_id: Option<TaskId>,
    /// How many runs in a row made no task. It is disabled when there are too many.
    pub failure_count: i32,
    /// Why the last run made none.
    #[schema(required)]
    pub last_error: Option<RunFailure>,
    /// Grows by one with every change and every run; an update names the version it is based on.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last, by somebody or by a run.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted.
    #[schema(required)]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What the tasks of a schedule are made of. Each member has the rules that it has in a task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskTemplate {
    /// Who gives the task: a live agent; the one who does it unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub created_by_id: Option<AgentId>,
    /// 1 to 300 characters.
    #[schema(min_length = 1, max_length = 300, example = "Summarise yesterday's tickets")]
    pub title: String,
    /// At most 64 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `normal` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How many seconds after it was due a task should be done; no deadline unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31_622_400, example = 3600)]
    pub deadline_seconds: Option<i64>,
    /// 0 to 100; 3 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub max_retries: Option<i32>,
    /// The provider it should run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// The account with the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_account_id: Option<Uuid>,
}

impl TaskTemplate {
    /// The body that a person would send to make the task of a run that was due then.
    ///
    /// Made by way of JSON, so that it is read and checked as theirs would be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn task(&self, agent: AgentId, due: DateTime<Utc>) -> Result<CreateTask, serde_json::Error> {
        let mut body = json!(self);
        if let Some(members) = body.as_object_mut() {
            members.remove("deadline_seconds");
        }
        body["agent_id"] = json!(agent);
        if let Some(seconds) = self.deadline_seconds {
            body["deadline"] = json!(due + TimeDelta::seconds(seconds));
        }
        serde_json::from_value(body)
    }

    /// Reports every broken rule, of the template itself and of the tasks it makes.
    fn check(&self, checks: &mut Checks, pointer: &str) {
        if let Some(seconds) = self.deadline_seconds {
            let pointer = format!("{pointer}/deadline_seconds");
            checks.number(&pointer, seconds, 1..=MAX_DEADLINE_SECONDS);
        }
        // The deadline was looked at above, and who does the task does not matter to its rules.
        let task =
            Self { deadline_seconds: None, ..self.clone() }.task(AgentId::from_uuid(Uuid::nil()), DateTime::UNIX_EPOCH);
        match task {
            Ok(task) => checks.under(pointer, |checks| task.check(checks)),
            Err(error) => checks.fail(pointer, error.to_string()),
        }
    }
}

/// The body that makes a schedule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Morning report", "agent_id": "0198f3a2-7c1e-7c1e-8c1e-0198f3a27c1e", "cron_expression": "0 9 * * MON-FRI",
    "time_zone": "Europe/Berlin", "task_template": { "title": "Summarise yesterday's tickets", "priority": "high" },
}))]
pub struct CreateSchedule {
    /// Who does its tasks: a live agent.
    #[schema(value_type = Uuid)]
    pub agent_id: AgentId,
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, example = "Morning report")]
    pub name: String,
    /// Five fields (minute, hour, day of month, month, day of week) or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schema(min_length = 1, max_length = 200, example = "0 9 * * MON-FRI")]
    pub cron_expression: String,
    /// A name of the IANA database; the company's own zone, as it is now, unless given.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// What its tasks are made of.
    pub task_template: TaskTemplate,
    /// Whether it is due at all; it is unless told otherwise.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

impl Validate for CreateSchedule {
    fn check(&self, checks: &mut Checks) {
        checks.line("/name", &self.name, MAX_NAME_CHARS);
        check_cron(checks, &self.cron_expression);
        if let Some(zone) = &self.time_zone {
            check_zone(checks, "/time_zone", zone);
        }
        self.task_template.check(checks, "/task_template");
    }
}

/// The body that changes a schedule: a merge patch. Absent members stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "enabled": false }))]
pub struct UpdateSchedule {
    /// The version this change is based on; may come as `If-Match` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Another live agent to do its tasks.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Uuid, required = false)]
    pub agent_id: Patch<AgentId>,
    /// A new name.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Patch<String>,
    /// When it is due from now on.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub cron_expression: Patch<String>,
    /// Another zone.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, required = false)]
    pub time_zone: Patch<String>,
    /// The template anew, as a whole.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = TaskTemplate, required = false)]
    pub task_template: Patch<TaskTemplate>,
    /// Enabled again, it begins with its next run and without failures.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = bool, required = false)]
    pub enabled: Patch<bool>,
}

impl UpdateSchedule {
    /// The members that the patch names, for the audit trail (values stay out of it).
    #[must_use]
    pub fn named(&self) -> Vec<&'static str> {
        let all = [
            ("agent_id", self.agent_id.is_named()),
            ("name", self.name.is_named()),
            ("cron_expression", self.cron_expression.is_named()),
            ("time_zone", self.time_zone.is_named()),
            ("task_template", self.task_template.is_named()),
            ("enabled", self.enabled.is_named()),
        ];
        all.into_iter().filter_map(|(name, named)| named.then_some(name)).collect()
    }
}

impl Validate for UpdateSchedule {
    fn check(&self, checks: &mut Checks) {
        let _ = checks.required("/agent_id", &self.agent_id);
        if let Some(name) = checks.required("/name", &self.name) {
            checks.line("/name", name, MAX_NAME_CHARS);
        }
        if let Some(expression) = checks.required("/cron_expression", &self.cron_expression) {
            check_cron(checks, expression);
        }
        if let Some(zone) = checks.required("/time_zone", &self.time_zone) {
            check_zone(checks, "/time_zone", zone);
        }
        if let Some(template) = checks.required("/task_template", &self.task_template) {
            template.check(checks, "/task_template");
        }
        let _ = checks.required("/enabled", &self.enabled);
    }
}

fn check_cron(checks: &mut Checks, expression: &str) {
    if let Err(error) = Cron::parse(expression) {
        checks.fail("/cron_expression", error.to_string());
    }
}

/// A zone by its name in the IANA database.
pub(crate) fn check_zone(checks: &mut Checks, pointer: &str, name: &str) {
    if let Err(detail) = zone(name) {
        checks.fail(pointer, detail);
    }
}

/// A zone by its name, or what to say about it.
pub(crate) fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        let name: String = name.chars().take(32).collect();
        format!("`{name}` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`")
    })
}

impl Schedule {
    /// Applies a patch. What it says about the times counts from `now` on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where what is stored already cannot be understood.
    pub fn apply(&mut self, patch: &Valid<UpdateSchedule>, now: DateTime<Utc>) -> Result<(), Error> {
        let was_enabled = self.enabled;
        patch.agent_id.apply_required(&mut self.agent_id);
        patch.name.apply_required(&mut self.name);
        patch.cron_expression.apply_required(&mut self.cron_expression);
        patch.time_zone.apply_required(&mut self.time_zone);
        if let Some(template) = patch.task_template.value() {
            self.task_template = json!(template);
        }
        patch.enabled.apply_required(&mut self.enabled);
        if self.enabled && !was_enabled {
            self.failure_count = 0;
            self.last_error = None;
        }
        let times_changed = patch.cron_expression.is_named() || patch.time_zone.is_named();
        if !self.enabled {
            self.next_run_at = None;
        } else if times_changed || !was_enabled || self.next_run_at.is_none() {
            self.next_run_at = self.next_after(now)?;
        }
        Ok(())
    }

    /// When it would be due next after an instant.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where expression or zone cannot be understood by this program.
    pub fn next_after(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Error> {
        let (cron, zone) = self.times()?;
        Ok(cron.next(after, zone))
    }

    fn times(&self) -> Result<(Cron, Tz), Error> {
        let cron = Cron::parse(&self.cron_expression).map_err(|e| self.corrupt("cron_expression", e.to_string()))?;
        let zone = zone(&self.time_zone).map_err(|e| self.corrupt("time_zone", e))?;
        Ok((cron, zone))
    }

    pub(crate) fn corrupt(&self, column: &'static str, reason: String) -> Error {
        Error::Corrupt { kind: crate::Kind::Schedule, id: *self.id.as_uuid(), column, reason }
    }

    /// What is shown as `next_runs`: what is due next, and what follows by the expression.
    #[must_use]
    pub(crate) fn runs_ahead(&self) -> Vec<Run> {
        let (Some(next), Ok((cron, zone))) = (self.next_run_at, self.times()) else { return Vec::new() };
        let after = cron.upcoming(next, zone, SHOWN_RUNS - 1);
        std::iter::once(next).chain(after).map(|at| Run::at(at, zone)).collect()
    }

    /// The body of the task of a run that was due then.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Invalid`]: rules may have become stricter since the schedule was made.
    pub fn task(&self, due: DateTime<Utc>) -> Result<Valid<CreateTask>, Error> {
        let unreadable = |e: serde_json::Error| self.corrupt("task_template", e.to_string());
        let template: TaskTemplate = serde_json::from_value(self.task_template.clone()).map_err(unreadable)?;
        template.task(self.agent_id, due).map_err(unreadable)?.validated()
    }

    /// Notes a run that made a task, and when the next is due, counted from `now`: runs that were missed meanwhile are made up for by this one.
    ///
    /// # Errors
    /// As [`next_after`](Self::next_after).
    pub fn succeeded(&mut self, task: TaskId, now: DateTime<Utc>) -> Result<(), Error> {
        self.last_run_at = Some(now);
        self.last_task_id = Some(task);
        self.failure_count = 0;
        self.last_error = None;
        self.next_run_at = self.next_after(now)?;
        Ok(())
    }

    /// Notes a run that made no task. The more there were in a row, the longer the next one is put off; after `most` the
    /// schedule is disabled, and so it is when nobody can say when it is due.
    pub fn failed(&mut self, failure: RunFailure, most: i32, now: DateTime<Utc>) {
        self.last_run_at = Some(now);
        self.failure_count = self.failure_count.saturating_add(1);
        self.last_error = Some(failure);
        let doublings = u32::try_from(self.failure_count - 1).unwrap_or(0).min(20);
        let pause = TimeDelta::minutes(1_i64 << doublings).min(LONGEST_PAUSE);
        // A run exactly at the end of the pause is not put off further.
        let next = self.next_after(now + pause - TimeDelta::microseconds(1)).ok().flatten();
        self.enabled = next.is_some() && self.failure_count < most;
        self.next_run_at = next.filter(|_| self.enabled);
    }
}

impl Record for Schedule {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "agent_id",
        "name",
        "cron_expression",
        "time_zone",
        "task_template",
        "enabled",
        "next_runs",
        "last_run_at",
        "next_run_at",
        "last_task_id",
        "failure_count",
        "last_error",
        "version",
        "created_at",
        "updated_at",
        "deleted_at",
    ];
}

text_enum! {
    /// In what order schedules are listed. A minus turns the order round.
    pub enum ScheduleOrder("order") {
        /// The newest first.
        Newest = "-created_at",
        /// The oldest first.
        Oldest = "created_at",
        /// What is due next first; what is not due at all comes last.
        Soonest = "next_run_at",
        /// By name, upper and lower case alike.
        Name = "name",
        /// By name, from the end of the alphabet.
        NameBackwards = "-name",
    }
}

impl Order for ScheduleOrder {
    const LIST: List = List::Schedules;

    fn code(self) -> u8 {
        self as u8
    }
}

impl ScheduleOrder {
    pub(crate) fn place(self, schedule: &Schedule) -> Place {
        let key = match self {
            Self::Newest | Self::Oldest => Key::Time(schedule.created_at),
            Self::Soonest => schedule.next_run_at.map_or(Key::Nothing, Key::Time),
            Self::Name | Self::NameBackwards => Key::Text(schedule.name.clone()),
        };
        Place { key, id: *schedule.id.as_uuid() }
    }
}

/// Which schedules a list shows.
#[derive(Debug, Clone, Default)]
pub struct ScheduleFilter {
    /// Only those that are enabled, or that are not.
    pub enabled: Option<bool>,
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Deleted ones as well.
    pub include_deleted: bool,
}

/// What an expression comes to, before there is a schedule.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// As asked for.
    #[schema(example = "0 9 * * MON-FRI")]
    pub cron_expression: String,
    /// The zone that was used.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// The runs from now on.
    pub next_runs: Vec<Run>,
}

/// How often a schedule may run at the most.
///
/// # Errors
/// A sentence about an expression that is due more often.
pub(crate) fn check_interval(expression: &str, least: std::time::Duration) -> Result<(), String> {
    let least = TimeDelta::from_std(least).unwrap_or(TimeDelta::MAX);
    // No expression is due more often than once a minute.
    if least <= TimeDelta::minutes(1) {
        return Ok(());
    }
    match Cron::parse(expression).map(|cron| cron.shortest_interval()) {
        Ok(shortest) if shortest < least => Err(format!(
            "is due every {} seconds at times; at least {} must lie between two runs",
            shortest.num_seconds(),
            least.num_seconds()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
