//! Believable data for demonstrations: a company's agents and tasks as they look on an ordinary day.

mod acme;
mod globex;

use serde_json::{Value, json};
use tenantry_postgres::TenantTx;

use crate::agent::AgentStatus;
use crate::store::quotas::recount;
use crate::store::{insert_sample_agent, insert_sample_task, sample_room, set_sample_current_task};
use crate::task::Priority;
use crate::{Error, TaskStatus};

/// What was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// How many agents.
    pub agents: usize,
    /// How many tasks.
    pub tasks: usize,
}

/// Fills an empty company; one that has agents is left alone, so a second start changes nothing.
///
/// `company` picks the content: `globex` and `acme` have their own, any other name gets that of `acme`.
///
/// # Errors
/// The database's. The caller commits, so it is all or nothing.
pub async fn seed(tx: &mut TenantTx, company: &str) -> Result<Seeded, Error> {
    if !sample_room(tx).await? {
        return Ok(Seeded { agents: 0, tasks: 0 });
    }
    let (agents, tasks) = content(company);
    let mut ids = Vec::with_capacity(agents.len());
    // The first is the oldest; a month lies between two.
    for (agent, months) in agents.iter().rev().zip(1..) {
        ids.push(insert_sample_agent(tx, agent, months * 30 * DAY).await?);
    }
    ids.reverse();
    for task in tasks {
        let id = insert_sample_task(tx, task, ids[task.agent], ids[task.by]).await?;
        if task.is_current() {
            set_sample_current_task(tx, ids[task.agent], id).await?;
        }
    }
    recount(tx).await?;
    let seeded = Seeded { agents: agents.len(), tasks: tasks.len() };
    tx.audit("sample.seed", "company", json!({ "agents": seeded.agents, "tasks": seeded.tasks }));
    Ok(seeded)
}

fn content(company: &str) -> (&'static [SampleAgent], &'static [SampleTask]) {
    match company {
        "globex" => (globex::AGENTS, globex::TASKS),
        _ => (acme::AGENTS, acme::TASKS),
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
            let (agents, tasks) = content(company);
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
    fn agents_at_work_have_exactly_one_current_task() {
        for company in ["acme", "globex"] {
            let (agents, tasks) = content(company);
            for (i, agent) in agents.iter().enumerate() {
                let current: Vec<_> = tasks.iter().filter(|t| t.agent == i && t.is_current()).collect();
                let expected = matches!(agent.status, AgentStatus::Working | AgentStatus::Blocked);
                assert_eq!(current.len(), usize::from(expected), "{} of {company}", agent.name);
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
