use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};
use metering::provider_call::ProviderCallFilter;
use workforce::account::AccountFilter;
use workforce::activity::ActivityFilter;
use workforce::agent::AgentFilter;
use workforce::message::MessageFilter;
use workforce::schedule::ScheduleFilter;
use workforce::session::SessionFilter;
use workforce::task::TaskFilter;

/// Which rows of a list are wanted, as parameters of the query.
pub trait Filter {
    /// The parameters that are set.
    fn parameters(&self) -> Vec<(&'static str, String)>;
}

/// Collects the parameters that are set.
#[derive(Default)]
pub(crate) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    pub(crate) fn one(mut self, name: &'static str, value: Option<&impl Display>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    fn several(mut self, name: &'static str, values: &[impl Display]) -> Self {
        if !values.is_empty() {
            self.0.push((name, values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
        }
        self
    }

    fn time(self, name: &'static str, at: Option<DateTime<Utc>>) -> Self {
        self.one(name, at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).as_ref())
    }

    pub(crate) fn into_inner(self) -> Vec<(&'static str, String)> {
        self.0
    }

    pub(crate) fn flag(self, name: &'static str, set: bool) -> Self {
        self.one(name, set.then_some(&true))
    }
}

/// No filter.
impl Filter for () {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

impl Filter for AgentFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .several("status", &self.status)
            .one("role", self.role.as_ref())
            .one("name", self.name_prefix.as_ref())
            .one("q", self.search.as_ref())
            .time("created_after", self.created_after)
            .time("created_before", self.created_before)
            .flag("include_deleted", self.include_deleted)
            .0
    }
}

impl Filter for TaskFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .several("status", &self.status)
            .several("priority", &self.priority)
            .one("agent_id", self.agent_id.as_ref())
            .one("created_by_id", self.created_by_id.as_ref())
            .time("deadline_before", self.deadline_before)
            .time("created_after", self.created_after)
            .time("created_before", self.created_before)
            .one("q", self.search.as_ref())
            .one("ready", self.ready.as_ref())
            .flag("include_deleted", self.include_deleted)
            .0
    }
}

impl Filter for MessageFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .one("agent_id", self.agent_id.as_ref())
            .one("with_agent_id", self.with_agent_id.as_ref())
            .one("from_agent_id", self.from_agent_id.as_ref())
            .one("to_agent_id", self.to_agent_id.as_ref())
            .several("type", &self.types)
            .several("status", &self.statuses)
            .one("unread", self.unread.as_ref())
            .time("since", self.since)
            .time("until", self.until)
            .one("broadcast_id", self.broadcast_id.as_ref())
            .flag("include_deleted", self.include_deleted)
            .0
    }
}

impl Filter for ActivityFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .one("agent_id", self.agent_id.as_ref())
            .one("task_id", self.task_id.as_ref())
            .several("action", &self.actions)
            .time("since", self.since)
            .time("until", self.until)
            .0
    }
}

impl Filter for SessionFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .one("agent_id", self.agent_id.as_ref())
            .one("task_id", self.task_id.as_ref())
            .several("status", &self.statuses)
            .time("since", self.since)
            .time("until", self.until)
            .0
    }
}

impl Filter for ScheduleFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .one("enabled", self.enabled.as_ref())
            .one("agent_id", self.agent_id.as_ref())
            .flag("include_deleted", self.include_deleted)
            .0
    }
}

impl Filter for AccountFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .one("status", self.status.as_ref())
            .one("provider", self.provider.as_ref())
            .one("owner_key", self.owner_key.as_ref())
            .0
    }
}

impl Filter for ProviderCallFilter {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Parameters::default()
            .time("from", self.from)
            .time("to", self.to)
            .one("provider", self.provider.as_ref())
            .one("model", self.model.as_ref())
            .one("agent_id", self.agent_id.as_ref())
            .one("task_id", self.task_id.as_ref())
            .one("session_id", self.session_id.as_ref())
            .one("api_key_id", self.api_key_id.as_ref())
            .one("success", self.success.as_ref())
            .one("unpriced", self.unpriced.as_ref())
            .one("finish", self.finish.as_ref())
            .0
    }
}
