//! Sessions: one run of one agent, with what it used.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::checks::{Checks, Validate};
use crate::text_enum::text_enum;
use crate::time_order::time_order;
use crate::{AgentId, Error, Record, SessionId, TaskId};

/// The most one report may add to one count. A session would need billions of reports to run out of numbers.
const MAX_TOKENS: i64 = 1_000_000_000;
const MAX_COUNTS: usize = 32;
const MAX_COUNT_NAME: usize = 64;
const MAX_CALLS_OF_REPORT: usize = 100;
const MAX_CALL_BYTES: usize = 4 * 1024;
/// The most calls one session keeps. The list is one value of the row and is written anew with each report.
pub(crate) const MAX_CALLS: usize = 1_000;

text_enum! {
    /// Where a session is in its life: `active`, then once and for good `ended` or `failed`.
    pub enum SessionStatus("session status") {
        /// Runs.
        Active = "active",
        /// Ended in good order; final.
        Ended = "ended",
        /// Broke off; final.
        Failed = "failed",
    }
}

/// A run of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Names the session for good.
    #[schema(value_type = uuid::Uuid)]
    pub id: SessionId,
    /// Who runs.
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// On which task.
    #[schema(value_type = Option<uuid::Uuid>, required)]
    pub task_id: Option<TaskId>,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// Tokens used so far, by kind.
    #[schema(value_type = BTreeMap<String, i64>, example = json!({ "input": 5120, "output": 640 }))]
    pub tokens_used: BTreeMap<String, i64>,
    /// Calls of tools so far, in the order in which they were reported.
    #[schema(value_type = Vec<Object>, example = json!([{ "tool": "orders", "ms": 41 }]))]
    pub tool_calls: Vec<Value>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[schema(required)]
    pub ended_at: Option<DateTime<Utc>>,
}

impl Record for Session {
    const FIELDS: &'static [&'static str] =
        &["id", "agent_id", "task_id", "status", "tokens_used", "tool_calls", "started_at", "ended_at"];
}

time_order! {
    /// In what order sessions are listed.
    SessionOrder of Session in Sessions by started_at: "-started_at", "started_at"
}

/// The body that starts a session.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "agent_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41", "task_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b42" }))]
pub struct CreateSession {
    /// Who runs: a live agent.
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// On which task: a live one of the agent.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub task_id: Option<TaskId>,
}

impl Validate for CreateSession {
    fn check(&self, _: &mut Checks) {}
}

/// The body that adds to what a session has used. Reports are added up, also those that come at the same time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tokens_used": { "input": 512, "output": 64 }, "tool_calls": [{ "tool": "orders", "ms": 41 }] }))]
pub struct ReportUsage {
    /// Tokens since the last report, by kind: at most 32 kinds, each named by 1 to 64 of `a-z`, `0-9` and `_`, each 0 to 1,000,000,000.
    #[serde(default)]
    #[schema(example = json!({ "input": 512, "output": 64 }))]
    pub tokens_used: BTreeMap<String, i64>,
    /// Calls since the last report: at most 100 objects of at most 4 KiB. A session keeps 1,000.
    #[serde(default)]
    #[schema(value_type = Vec<Object>, max_items = 100, example = json!([{ "tool": "orders", "ms": 41 }]))]
    pub tool_calls: Vec<Value>,
}

impl Validate for ReportUsage {
    fn check(&self, checks: &mut Checks) {
        if self.tokens_used.len() > MAX_COUNTS {
            checks
                .fail("/tokens_used", format!("must have at most {MAX_COUNTS} kinds, has {}", self.tokens_used.len()));
        }
        for (name, count) in &self.tokens_used {
            let fine = (1..=MAX_COUNT_NAME).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if fine {
                checks.number(&format!("/tokens_used/{name}"), *count, 0..=MAX_TOKENS);
            } else {
                checks
                    .fail("/tokens_used", format!("a kind must be named by 1 to {MAX_COUNT_NAME} of a-z, 0-9 and `_`"));
            }
        }
        if self.tool_calls.len() > MAX_CALLS_OF_REPORT {
            let has = self.tool_calls.len();
            checks.fail("/tool_calls", format!("must have at most {MAX_CALLS_OF_REPORT} entries, has {has}"));
        }
        for (i, call) in self.tool_calls.iter().enumerate().take(MAX_CALLS_OF_REPORT) {
            let pointer = format!("/tool_calls/{i}");
            let length = call.to_string().len();
            if !call.is_object() {
                checks.fail(pointer, "must be an object");
            } else if length > MAX_CALL_BYTES {
                checks.fail(pointer, format!("must have at most {MAX_CALL_BYTES} bytes as JSON, has {length}"));
            } else {
                checks.json(&pointer, call);
            }
        }
    }
}

impl Session {
    /// Adds a report.
    ///
    /// # Errors
    /// [`Error::SessionEnded`], [`Error::SessionFull`]; the session is then as it was.
    pub fn add(&mut self, report: &ReportUsage) -> Result<(), Error> {
        self.must_be_active()?;
        let calls = self.tool_calls.len() + report.tool_calls.len();
        if calls > MAX_CALLS {
            return Err(Error::SessionFull { pointer: "/tool_calls", what: "tool calls", limit: MAX_CALLS });
        }
        let new = report.tokens_used.keys().filter(|name| !self.tokens_used.contains_key(*name)).count();
        if self.tokens_used.len() + new > MAX_COUNTS {
            return Err(Error::SessionFull { pointer: "/tokens_used", what: "kinds of tokens", limit: MAX_COUNTS });
        }
        for (name, count) in &report.tokens_used {
            let total = self.tokens_used.entry(name.clone()).or_default();
            *total = total.saturating_add(*count);
        }
        self.tool_calls.extend(report.tool_calls.iter().cloned());
        Ok(())
    }

    /// Ends the session, once.
    ///
    /// # Errors
    /// [`Error::SessionEnded`].
    pub fn end(&mut self, status: SessionStatus, now: DateTime<Utc>) -> Result<(), Error> {
        self.must_be_active()?;
        self.status = status;
        self.ended_at = Some(now);
        Ok(())
    }

    /// What is published about it: without the calls, which may be many and which whoever wants them can read.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "id": self.id, "agent_id": self.agent_id, "task_id": self.task_id, "status": self.status,
            "tokens_used": self.tokens_used, "tool_call_count": self.tool_calls.len(), "started_at": self.started_at,
            "ended_at": self.ended_at,
        })
    }

    fn must_be_active(&self) -> Result<(), Error> {
        if self.status == SessionStatus::Active {
            return Ok(());
        }
        Err(Error::SessionEnded { status: self.status, current: Box::new(json!(self)) })
    }
}

/// Which sessions a list shows.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only of this agent.
    pub agent_id: Option<AgentId>,
    /// Only on this task.
    pub task_id: Option<TaskId>,
    /// Only with these statuses; empty is all.
    pub statuses: Vec<SessionStatus>,
    /// Only those started at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those started before this instant.
    pub until: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            id: SessionId::generate(),
            agent_id: AgentId::generate(),
            task_id: None,
            status: SessionStatus::Active,
            tokens_used: BTreeMap::new(),
            tool_calls: Vec::new(),
            started_at: DateTime::UNIX_EPOCH,
            ended_at: None,
        }
    }

    fn report(value: Value) -> ReportUsage {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn reports_add_up() {
        let mut session = session();
        session
            .add(&report(json!({ "tokens_used": { "input": 5, "output": 1 }, "tool_calls": [{ "n": 1 }] })))
            .unwrap();
        session
            .add(&report(json!({ "tokens_used": { "input": 7, "cached": 0 }, "tool_calls": [{ "n": 2 }] })))
            .unwrap();
        session.add(&report(json!({}))).unwrap();
        assert_eq!(json!(session.tokens_used), json!({ "cached": 0, "input": 12, "output": 1 }));
        assert_eq!(session.tool_calls, [json!({ "n": 1 }), json!({ "n": 2 })]);
    }

    #[test]
    fn a_full_session_takes_no_more_and_stays_as_it_is() {
        let mut session = session();
        session.tool_calls = vec![json!({}); MAX_CALLS];
        let before = session.clone();
        let full = session.add(&report(json!({ "tokens_used": { "input": 1 }, "tool_calls": [{}] }))).unwrap_err();
        assert!(matches!(full, Error::SessionFull { pointer: "/tool_calls", .. }), "{full}");
        assert_eq!(session, before);
        session.tokens_used = (0..MAX_COUNTS).map(|n| (format!("kind_{n}"), 1)).collect();
        let full = session.add(&report(json!({ "tokens_used": { "another": 1 } }))).unwrap_err();
        assert!(matches!(full, Error::SessionFull { pointer: "/tokens_used", .. }), "{full}");
        session.add(&report(json!({ "tokens_used": { "kind_0": 1 } }))).unwrap();
    }

    #[test]
    fn it_ends_once() {
        for last in [SessionStatus::Ended, SessionStatus::Failed] {
            let mut session = session();
            session.end(last, DateTime::UNIX_EPOCH).unwrap();
            assert_eq!((session.status, session.ended_at), (last, Some(DateTime::UNIX_EPOCH)));
            assert!(matches!(session.end(last, DateTime::UNIX_EPOCH), Err(Error::SessionEnded { .. })));
            assert!(matches!(session.add(&report(json!({}))), Err(Error::SessionEnded { .. })));
        }
    }

    #[test]
    fn reports_have_bounds() {
        let faults = |value: Value| match report(value).validated() {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>(),
            Err(other) => panic!("{other}"),
        };
        let many: BTreeMap<String, i64> = (0..33).map(|n| (format!("k{n}"), 1)).collect();
        let wrong = [
            (json!({ "tokens_used": { "input": -1 } }), "/tokens_used/input"),
            (json!({ "tokens_used": { "input": 1_000_000_001 } }), "/tokens_used/input"),
            (json!({ "tokens_used": { "": 1 } }), "/tokens_used"),
            (json!({ "tokens_used": { "In put": 1 } }), "/tokens_used"),
            (json!({ "tokens_used": many }), "/tokens_used"),
            (json!({ "tool_calls": [{}, 7] }), "/tool_calls/1"),
            (json!({ "tool_calls": [{ "a": "x".repeat(5000) }] }), "/tool_calls/0"),
            (json!({ "tool_calls": [{ "a": "\u{0}" }] }), "/tool_calls/0"),
            (json!({ "tool_calls": vec![json!({}); 101] }), "/tool_calls"),
        ];
        for (value, pointer) in wrong {
            assert_eq!(faults(value.clone()), [pointer], "{value}");
        }
        let most =
            json!({ "tokens_used": { "input": 1_000_000_000, "output": 0 }, "tool_calls": vec![json!({}); 100] });
        assert_eq!(faults(most), Vec::<String>::new());
    }
}
