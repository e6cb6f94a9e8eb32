//! Rows for demonstrations: with a past, which the endpoints cannot give them.

use serde_json::{Value, json};
use tenantry_postgres::{TenantTx, statements};

use super::column;
use crate::message::MessageType;
use crate::sample::{SampleActivity, SampleAgent, SampleMessage, SampleSession, SampleTask};
use crate::session::SessionStatus;
use crate::{ActivityId, AgentId, Error, MessageId, MessageStatus, SessionId, TaskId, TaskStatus};

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
    /// A message some minutes ago; what happened to it happened a little later.
    SAMPLE_MESSAGE(UUID, UUID, UUID, TEXT, TEXT, TEXT, TEXT, TEXT, INT4) =
        "INSERT INTO tenant.messages (id, from_agent_id, to_agent_id, subject, body, type, is_external_draft, \
           external_recipient, status, created_at, read_at, approved_by, approved_at) \
         SELECT $1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::text, $6 = 'external_draft', $7::text, $8::text, made, \
           CASE WHEN $8 = 'read' THEN later END, CASE WHEN $8 = 'approved' THEN 'sample' END, \
           CASE WHEN $8 = 'approved' THEN later END \
         FROM (SELECT now() - make_interval(mins => $9) AS made, now() - make_interval(mins => $9 / 2) AS later) AS at";
    /// A session that began some minutes ago, and ended half way from then if it has ended.
    SAMPLE_SESSION(UUID, UUID, UUID, TEXT, JSONB, JSONB, INT4, BOOL) =
        "INSERT INTO tenant.agent_sessions (id, agent_id, task_id, status, tokens_used, tool_calls, started_at, ended_at) \
         VALUES ($1, $2, $3, $4, $5, $6, now() - make_interval(mins => $7), \
           CASE WHEN $8 THEN now() - make_interval(mins => $7 / 2) END)";
    /// An entry of the log, some minutes old.
    SAMPLE_ACTIVITY(UUID, UUID, UUID, TEXT, JSONB, INT4) =
        "INSERT INTO tenant.activity_logs (id, agent_id, task_id, action, details, \"timestamp\") \
         VALUES ($1, $2, $3, $4, $5, now() - make_interval(mins => $6))";
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

pub(crate) async fn insert_sample_message(
    tx: &mut TenantTx,
    message: &SampleMessage,
    from: AgentId,
    to: AgentId,
) -> Result<(), Error> {
    let recipient = message.state.recipient();
    let kind = if recipient.is_some() { MessageType::ExternalDraft } else { MessageType::Direct };
    let status: MessageStatus = message.state.status();
    tx.execute(
        &SAMPLE_MESSAGE,
        &[
            MessageId::generate().as_uuid(),
            from.as_uuid(),
            to.as_uuid(),
            &message.subject,
            &message.body,
            &kind.as_str(),
            &recipient,
            &status.as_str(),
            &message.age_minutes,
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn insert_sample_session(
    tx: &mut TenantTx,
    session: &SampleSession,
    agent: AgentId,
    task: Option<TaskId>,
) -> Result<(), Error> {
    let (input, output) = session.tokens;
    let calls: Vec<Value> = session.calls.iter().map(|(tool, ms)| json!({ "tool": tool, "ms": ms })).collect();
    tx.execute(
        &SAMPLE_SESSION,
        &[
            SessionId::generate().as_uuid(),
            agent.as_uuid(),
            &task.map(|task| *task.as_uuid()),
            &session.status.as_str(),
            &json!({ "input": input, "output": output }),
            &json!(calls),
            &session.age_minutes,
            &(session.status != SessionStatus::Active),
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn insert_sample_activity(
    tx: &mut TenantTx,
    entry: &SampleActivity,
    agent: AgentId,
    task: Option<TaskId>,
) -> Result<(), Error> {
    tx.execute(
        &SAMPLE_ACTIVITY,
        &[
            ActivityId::generate().as_uuid(),
            agent.as_uuid(),
            &task.map(|task| *task.as_uuid()),
            &entry.action,
            &json!({ "note": entry.note }),
            &entry.age_minutes,
        ],
    )
    .await?;
    Ok(())
}
