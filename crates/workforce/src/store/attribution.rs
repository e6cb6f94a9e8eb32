//! What a call to a provider may be said to be for: an agent, a session and a task of the tenant, deleted or not.

use tenantry_postgres::{TenantTx, statements};
use uuid::Uuid;

use super::column;
use crate::Error;

statements! {
    /// Which of these there are, and what the session says about agent and task.
    FIND_ATTRIBUTION(UUID, UUID, UUID) =
        "SELECT (SELECT a.id FROM tenant.agents a WHERE a.id = $1) AS agent, \
           s.id AS session, s.agent_id AS sessions_agent, s.task_id AS sessions_task, \
           t.id AS task, t.agent_id AS tasks_agent \
         FROM (SELECT 1) AS one \
           LEFT JOIN tenant.agent_sessions s ON s.id = $2 \
           LEFT JOIN tenant.tasks t ON t.id = $3";
}

/// What a call is said to be for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Named {
    /// An agent.
    pub agent: Option<Uuid>,
    /// A session.
    pub session: Option<Uuid>,
    /// A task.
    pub task: Option<Uuid>,
}

/// What was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The agent.
    Agent,
    /// The session.
    Session,
    /// The task.
    Task,
}

/// Looks for what was named; one statement. What was not named is taken from the session, or else from the task.
///
/// # Errors
/// Only the database's.
pub async fn find(tx: &mut TenantTx, named: &Named) -> Result<Result<Named, Missing>, Error> {
    let row = tx.query_one(&FIND_ATTRIBUTION, &[&named.agent, &named.session, &named.task]).await?;
    let agent: Option<Uuid> = column!(row, "agent");
    let session: Option<Uuid> = column!(row, "session");
    let task: Option<Uuid> = column!(row, "task");
    let sessions_agent: Option<Uuid> = column!(row, "sessions_agent");
    let sessions_task: Option<Uuid> = column!(row, "sessions_task");
    let tasks_agent: Option<Uuid> = column!(row, "tasks_agent");
    let missing = [
        (named.agent.is_some() && agent.is_none(), Missing::Agent),
        (named.session.is_some() && session.is_none(), Missing::Session),
        (named.task.is_some() && task.is_none(), Missing::Task),
    ];
    if let Some((_, what)) = missing.into_iter().find(|(gone, _)| *gone) {
        return Ok(Err(what));
    }
    Ok(Ok(Named { agent: agent.or(sessions_agent).or(tasks_agent), session, task: task.or(sessions_task) }))
}
