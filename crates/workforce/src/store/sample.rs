//! Rows for demonstrations: with a past, which the endpoints cannot give them.

use serde_json::{Value, json};
use tenantry_postgres::{TenantTx, statements};

use super::column;
use crate::sample::{SampleAgent, SampleTask};
use crate::{AgentId, Error, TaskId, TaskStatus};

statements! {
    /// Whether there is nobody yet.
    SAMPLE_ROOM() = "SELECT NOT EXISTS (SELECT FROM tenant.agents) AS room";
    /// An agent made some minutes ago.
    SAMPLE_AGENT(UUID, TEXT, TEXT, TEXT, TEXT, JSONB, JSONB, INT4) =
        "INSERT INTO tenant.agents (id, name, role, personality_prompt, status, capabilities, tool_permissions, \
                                    created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, now() - make_interval(mins => $8), now() - make_interval(mins => $8))";
    /// A task with times in minutes from now; NULL for what has not happened.
    SAMPLE_TASK(UUID, UUID, UUID, TEXT, TEXT, TEXT, TEXT, TEXT, INT2, JSONB, JSONB, JSONB, INT4, INT4, INT4, INT4, INT4, TEXT) =
        "INSERT INTO tenant.tasks (id, agent_id, created_by_id, title, description, status, previous_status, priority, \
           progress_percent, progress_details, result, error_details, created_at, started_at, completed_at, deadline, \
           retry_count, provider) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + make_interval(mins => $13), \
           now() + make_interval(mins => $14), now() + make_interval(mins => $15), now() + make_interval(mins => $16), \
           $17, $18)";
    /// Puts an agent on its task.
    SAMPLE_CURRENT_TASK(UUID, UUID) = "UPDATE tenant.agents SET current_task_id = $2 WHERE id = $1";
}

/// Whether the company has no agents yet, not even deleted ones.
pub(crate) async fn sample_room(tx: &mut TenantTx) -> Result<bool, Error> {
    let row = tx.query_one(&SAMPLE_ROOM, &[]).await?;
    Ok(column!(row, "room"))
}

pub(crate) async fn insert_sample_agent(
    tx: &mut TenantTx,
    agent: &SampleAgent,
    minutes_ago: i32,
) -> Result<AgentId, Error> {
    let id = AgentId::generate();
    let tools: Value = agent.tools.iter().map(|(tool, may)| ((*tool).to_owned(), json!(may))).collect();
    tx.execute(
        &SAMPLE_AGENT,
        &[
            id.as_uuid(),
            &agent.name,
            &agent.role,
            &agent.prompt,
            &agent.status.as_str(),
            &json!(agent.capabilities),
            &tools,
            &minutes_ago,
        ],
    )
    .await?;
    Ok(id)
}

pub(crate) async fn insert_sample_task(
    tx: &mut TenantTx,
    task: &SampleTask,
    agent: AgentId,
    created_by: AgentId,
) -> Result<TaskId, Error> {
    let id = TaskId::generate();
    let stage = task.stage();
    tx.execute(
        &SAMPLE_TASK,
        &[
            id.as_uuid(),
            agent.as_uuid(),
            created_by.as_uuid(),
            &task.title,
            &task.description,
            &stage.status.as_str(),
            &stage.previous.map(TaskStatus::as_str),
            &task.priority.as_str(),
            &stage.progress,
            &stage.details,
            &stage.result,
            &stage.error,
            &-task.age_minutes,
            &stage.started_minutes.map(|ago| -ago),
            &stage.ended_minutes.map(|ago| -ago),
            &task.due_in_minutes,
            &stage.retries,
            &task.provider,
        ],
    )
    .await?;
    Ok(id)
}

pub(crate) async fn set_sample_current_task(tx: &mut TenantTx, agent: AgentId, task: TaskId) -> Result<(), Error> {
    tx.execute(&SAMPLE_CURRENT_TASK, &[agent.as_uuid(), task.as_uuid()]).await?;
    Ok(())
}
