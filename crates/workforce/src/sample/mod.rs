//! Believable data for demonstrations: a company's agents, tasks, messages and runs as they look on an ordinary day.

mod acme;
mod globex;
mod mail;
mod runs;

use serde_json::{Value, json};
use tenantry_postgres::TenantTx;

use crate::agent::AgentStatus;
use crate::store::quotas::recount;
use crate::store::{
    insert_sample_activity, insert_sample_agent, insert_sample_dependencies, insert_sample_message,
    insert_sample_session, insert_sample_task, sample_room, set_sample_current_task,
};
use crate::task::Priority;
use crate::{Error, TaskId, TaskStatus};

pub(crate) use mail::SampleMessage;
pub(crate) use runs::{SampleActivity, SampleSession};

/// What was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// How many agents.
    pub agents: usize,
    /// How many tasks.
    pub tasks: usize,
    /// How many messages.
    pub messages: usize,
    /// How many sessions.
    pub sessions: usize,
}

/// Fills an empty company; one that has agents is left alone, so a second start changes nothing.
///
/// `company` picks the content: `globex` and `acme` have their own, any other name gets that of `acme`.
///
/// # Errors
/// The database's. The caller commits, so it is all or nothing.
pub async fn seed(tx: &mut TenantTx, company: &str) -> Result<Seeded, Error> {
    if !sample_room(tx).await? {
        return Ok(Seeded { agents: 0, tasks: 0, messages: 0, sessions: 0 });
    }
    let (agents, tasks, dependencies) = content(company);
    let mut ids = Vec::with_capacity(agents.len());
    // The first is the oldest; a month lies between two.
    for (agent, months) in agents.iter().rev().zip(1..) {
        ids.push(insert_sample_agent(tx, agent, months * 30 * DAY).await?);
    }
    ids.reverse();
    let mut task_ids = Vec::with_capacity(tasks.len());
    for task in tasks {
        let id = insert_sample_task(tx, task, ids[task.agent], ids[task.by]).await?;
        if task.is_current() {
            set_sample_current_task(tx, ids[task.agent], id).await?;
        }
        task_ids.push(id);
    }
    recount(tx).await?;
    for (waiting, others) in dependencies {
        let others: Vec<TaskId> = others.iter().map(|other| task_ids[*other]).collect();
        insert_sample_dependencies(tx, task_ids[*waiting], &others).await?;
    }
    let (messages, sessions, activity) = talk(company);
    for message in messages {
        insert_sample_message(tx, message, ids[message.from], ids[message.to]).await?;
    }
    for session in sessions {
        insert_sample_session(tx, session, ids[session.agent], session.task.map(|task| task_ids[task])).await?;
    }
    for entry in activity {
        insert_sample_activity(tx, entry, ids[entry.agent], entry.task.map(|task| task_ids[task])).await?;
    }
    let seeded =
        Seeded { agents: agents.len(), tasks: tasks.len(), messages: messages.len(), sessions: sessions.len() };
    let told = json!({ "agents": seeded.agents, "tasks": seeded.tasks, "messages": seeded.messages, "sessions": seeded.sessions });
    tx.audit("sample.seed", "company", told);
    Ok(seeded)
}

/// Which task waits for which others: places in the list of tasks. What a task waits for stands before it in this list.
type SampleDependencies = &'static [(usize, &'static [usize])];

fn content(company: &str) -> (&'static [SampleAgent], &'static [SampleTask], SampleDependencies) {
    match company {
        "globex" => (globex::AGENTS, globex::TASKS, globex::DEPENDENCIES),
        _ => (acme::AGENTS, acme::TASKS, acme::DEPENDENCIES),
    }
}

fn talk(company: &str) -> (&'static [SampleMessage], &'static [SampleSession], &'static [SampleActivity]) {
    match company {
        "globex" => (mail::GLOBEX, runs::GLOBEX_SESSIONS, runs::GLOBEX_ACTIVITY),
        _ => (mail::ACME, runs::ACME_SESSIONS, runs::ACME_ACTIVITY),
    }
}

const HOUR: i32 = 60;
const DAY: i32 = 24 * HOUR;

/// An agent of the sample.
#[derive(Debug)]
pub(crate) struct SampleAgent {
    pub(crate) name: &'static str,
    pub(crate) role: &'static str,
    pub(crate) prompt: &'static str,
    pub(crate) status: AgentStatus,
    pub(crate) capabilities: &'static [&'static str],
    pub(crate) tools: &'static [(&'static str, &'static str)],
}

/// A task of the sample. `agent` and `by` are places in the list of agents; times are minutes.
#[derive(Debug)]
pub(crate) struct SampleTask {
    pub(crate) agent: usize,
    pub(crate) by: usize,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) priority: Priority,
    pub(crate) age_minutes: i32,
    pub(crate) due_in_minutes: Option<i32>,
    pub(crate) provider: Option<&'static str>,
    pub(crate) state: State,
}

/// How far a task of the sample is.
#[derive(Debug)]
pub(crate) enum State {
    Pending,
    /// Percent done, and what it is at.
    Working(i16, &'static str),
    /// Percent done, and what it waits for.
    Blocked(i16, &'static str),
    /// What came out.
    Done(&'static str),
    /// Error code, what went wrong, and how often it was retried.
    Failed(&'static str, &'static str, i32),
    Cancelled,
}

/// The columns that follow from a [`State`].
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) status: TaskStatus,
    pub(crate) previous: Option<TaskStatus>,
    pub(crate) progress: i16,
    pub(crate) details: Value,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<Value>,
    pub(crate) started_minutes: Option<i32>,
    pub(crate) ended_minutes: Option<i32>,
    pub(crate) retries: i32,
}

impl SampleTask {
    fn is_current(&self) -> bool {
        matches!(self.state, State::Working(..) | State::Blocked(..))
    }

    /// The row as the status machine would have left it.
    pub(crate) fn stage(&self) -> Stage {
        use TaskStatus::{Blocked, Cancelled, Completed, Failed, InProgress, Pending};
        let (started, ended) = (Some(self.age_minutes * 3 / 4), Some(self.age_minutes / 2));
        let fresh = Stage {
            status: Pending,
            previous: None,
            progress: 0,
            details: json!({}),
            result: None,
            error: None,
            started_minutes: None,
            ended_minutes: None,
            retries: 0,
        };
        let running = Stage { previous: Some(InProgress), started_minutes: started, ..fresh };
        match self.state {
            State::Pending => Stage { previous: None, started_minutes: None, ..running },
            State::Working(progress, note) => Stage {
                status: InProgress,
                previous: Some(Pending),
                progress,
                details: json!({ "note": note }),
                ..running
            },
            State::Blocked(progress, note) => {
                Stage { status: Blocked, progress, details: json!({ "waits_for": note }), ..running }
            }
            State::Done(summary) => Stage {
                status: Completed,
                progress: 100,
                result: Some(json!({ "summary": summary })),
                ended_minutes: ended,
                ..running
            },
            State::Failed(code, message, retries) => Stage {
                status: Failed,
                error: Some(json!({ "code": code, "message": message })),
                ended_minutes: ended,
                retries,
                ..running
            },
            State::Cancelled => Stage {
                status: Cancelled,
                previous: Some(Pending),
                started_minutes: None,
                ended_minutes: ended,
                ..running
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::checks::Validate as _;

    #[test]
    fn both_companies_have_content_of_their_own() {
        let names = |company| content(company).0.iter().map(|a| a.name).collect::<HashSet<_>>();
        let titles = |company| content(company).1.iter().map(|t| t.title).collect::<HashSet<_>>();
        assert!(names("acme").is_disjoint(&names("globex")));
        assert!(titles("acme").is_disjoint(&titles("globex")));
    }

    #[test]
    fn content_obeys_the_rules_of_the_api() {
        for company in ["acme", "globex"] {
            let (agents, tasks, _) = content(company);
            assert_eq!(agents.iter().map(|a| a.name).collect::<HashSet<_>>().len(), agents.len());
            for agent in agents {
                let body = json!({ "name": agent.name, "role": agent.role, "personality_prompt": agent.prompt,
                                   "capabilities": agent.capabilities });
                assert!(serde_json::from_value::<crate::agent::CreateAgent>(body).unwrap().validated().is_ok());
            }
            for task in tasks {
                let body = json!({ "agent_id": uuid::Uuid::nil(), "title": task.title,
                                   "description": task.description, "provider": task.provider });
                assert!(serde_json::from_value::<crate::task::CreateTask>(body).unwrap().validated().is_ok());
                assert!(task.agent < agents.len() && task.by < agents.len());
                let stage = task.stage();
                let legal = stage.previous.is_none_or(|previous| previous.successors().contains(&stage.status));
                assert!(legal, "{}: {:?} to {:?}", task.title, stage.previous, stage.status);
            }
        }
    }

    #[test]
    fn messages_and_runs_obey_the_rules_of_the_api() {
        use crate::activity::CreateActivity;
        use crate::message::CreateMessage;
        use crate::session::SessionStatus;
        for company in ["acme", "globex"] {
            let (agents, tasks, _) = content(company);
            let (messages, sessions, activity) = talk(company);
            for message in messages {
                let id = |agent: usize| uuid::Uuid::from_u128(agent.try_into().unwrap());
                let recipient = message.state.recipient();
                let body = json!({ "from_agent_id": id(message.from), "to_agent_id": id(message.to),
                                   "subject": message.subject, "body": message.body, "external_recipient": recipient,
                                   "type": if recipient.is_some() { "external_draft" } else { "direct" } });
                let valid = serde_json::from_value::<CreateMessage>(body).unwrap().validated();
                assert!(valid.is_ok(), "{}: {valid:?}", message.subject);
                assert!(message.from < agents.len() && message.to < agents.len());
            }
            for session in sessions {
                let task = &tasks[session.task.unwrap()];
                assert_eq!(task.agent, session.agent, "{}", task.title);
                assert!(session.age_minutes <= task.age_minutes, "{} is run after it was made", task.title);
                assert_eq!(session.status == SessionStatus::Active, task.is_current(), "{}", task.title);
            }
            for entry in activity {
                let body =
                    json!({ "agent_id": uuid::Uuid::nil(), "action": entry.action, "details": { "note": entry.note } });
                assert!(serde_json::from_value::<CreateActivity>(body).unwrap().validated().is_ok());
                let task = entry.task.map(|task| &tasks[task]);
                assert!(task.is_none_or(|task| entry.age_minutes <= task.age_minutes), "{}", entry.note);
            }
        }
    }

    #[test]
    fn agents_at_work_have_exactly_one_current_task() {
        for company in ["acme", "globex"] {
            let (agents, tasks, _) = content(company);
            for (i, agent) in agents.iter().enumerate() {
                let current: Vec<_> = tasks.iter().filter(|t| t.agent == i && t.is_current()).collect();
                let expected = matches!(agent.status, AgentStatus::Working | AgentStatus::Blocked);
                assert_eq!(current.len(), usize::from(expected), "{} of {company}", agent.name);
            }
        }
    }

    #[test]
    fn what_waits_has_not_been_started() {
        for company in ["acme", "globex"] {
            let (_, tasks, dependencies) = content(company);
            assert!(!dependencies.is_empty());
            for (i, (waiting, others)) in dependencies.iter().enumerate() {
                let open = others.iter().any(|other| tasks[*other].stage().status != TaskStatus::Completed);
                assert!(open && matches!(tasks[*waiting].state, State::Pending), "{}", tasks[*waiting].title);
                let later = dependencies[i + 1..].iter().any(|(later, _)| others.contains(later));
                assert!(
                    !later && !others.contains(waiting),
                    "{}: depths are right in this order",
                    tasks[*waiting].title
                );
            }
        }
    }

    #[test]
    fn every_status_is_shown() {
        for company in ["acme", "globex"] {
            let shown: HashSet<_> = content(company).1.iter().map(|t| t.stage().status).collect();
            assert_eq!(shown.len(), TaskStatus::ALL.len(), "{company}");
        }
    }
}
