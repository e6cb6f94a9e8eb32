//! The table `agent_sessions`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tenantry_http::Limit;
use tenantry_postgres::{Row, TenantTx, ToSql, statements};
use uuid::Uuid;

use super::{agents, column, earliest_first, latest_first, words};
use crate::session::{CreateSession, ReportUsage, Session, SessionFilter, SessionOrder, SessionStatus};
use crate::{AgentId, Error, Kind, Page, Place, SessionId, TaskId, UnknownWord, Valid};

macro_rules! columns {
    () => {
        "id, agent_id, task_id, status, tokens_used, tool_calls, started_at, ended_at"
    };
}

/// The conditions that all lists share.
macro_rules! list {
    ($whose:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM tenant.agent_sessions WHERE ",
            $whose,
            " AND ($2::uuid IS NULL OR task_id = $2) \
              AND ($3::text[] IS NULL OR status = ANY ($3)) \
              AND ($4::timestamptz IS NULL OR started_at >= $4) \
              AND ($5::timestamptz IS NULL OR started_at < $5)"
        )
    };
}

statements! {
    /// One session by id.
    FIND_SESSION(UUID) = concat!("SELECT ", columns!(), " FROM tenant.agent_sessions WHERE id = $1");
    /// A session, held against other changes, with the database's clock. Reports that come at the same time wait for each
    /// other here, so each adds to what the one before left.
    LOCK_SESSION(UUID) = concat!(
        "SELECT ", columns!(), ", now() AS clock FROM tenant.agent_sessions WHERE id = $1 FOR NO KEY UPDATE"
    );
    /// A page of all sessions, the newest first.
    LIST_SESSIONS_NEWEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("$1::uuid IS NULL"), latest_first!("started_at", "$6", "$7", "$8"));
    /// A page of all sessions, the oldest first.
    LIST_SESSIONS_OLDEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("$1::uuid IS NULL"), earliest_first!("started_at", "$6", "$7", "$8"));
    /// A page of one agent's sessions, by the index for it, the newest first.
    LIST_AGENT_SESSIONS_NEWEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("agent_id = $1"), latest_first!("started_at", "$6", "$7", "$8"));
    /// A page of one agent's sessions, by the index for it, the oldest first.
    LIST_AGENT_SESSIONS_OLDEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("agent_id = $1"), earliest_first!("started_at", "$6", "$7", "$8"));
    /// A new session, active.
    INSERT_SESSION(UUID, UUID, UUID) = concat!(
        "INSERT INTO tenant.agent_sessions (id, agent_id, task_id) VALUES ($1, $2, $3) RETURNING ", columns!()
    );
    /// Writes the sums and appends the calls; only while the session is active.
    ADD_USAGE(UUID, JSONB, JSONB) = concat!(
        "UPDATE tenant.agent_sessions SET tokens_used = $2, tool_calls = tool_calls || $3 \
         WHERE id = $1 AND status = 'active' RETURNING ", columns!()
    );
    /// Ends an active session.
    END_SESSION(UUID, TEXT, TIMESTAMPTZ) = concat!(
        "UPDATE tenant.agent_sessions SET status = $2, ended_at = $3 WHERE id = $1 AND status = 'active' RETURNING ",
        columns!()
    );
}

/// Starts a session of a live agent, on a live task of the agent if on any.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::UnknownTask`].
pub async fn start(tx: &mut TenantTx, new: &Valid<CreateSession>) -> Result<Session, Error> {
    let id = SessionId::generate();
    let named = ("/agent_id", new.agent_id);
    agents::hold_live(tx, named, named).await?;
    let task = new.task_id.map(|task| *task.as_uuid());
    if let Some(id) = task
        && !agents::has_task(tx, new.agent_id, id).await?
    {
        return Err(Error::UnknownTask { pointer: "/task_id", id });
    }
    let session = read(&tx.query_one(&INSERT_SESSION, &[id.as_uuid(), new.agent_id.as_uuid(), &task]).await?)?;
    let details = json!({ "agent_id": session.agent_id, "task_id": session.task_id });
    tx.audit("session.start", &target(id), details);
    tx.publish("session.created", session.summary());
    Ok(session)
}

/// Finds a session; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: SessionId) -> Result<Session, Error> {
    read(&tx.query_opt(&FIND_SESSION, &[id.as_uuid()]).await?.ok_or_else(|| not_found(id))?)
}

/// A page of sessions; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &SessionFilter,
    order: SessionOrder,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Session>, Error> {
    let statement = match (order, filter.agent_id) {
        (SessionOrder::Newest, None) => &LIST_SESSIONS_NEWEST,
        (SessionOrder::Newest, Some(_)) => &LIST_AGENT_SESSIONS_NEWEST,
        (SessionOrder::Oldest, None) => &LIST_SESSIONS_OLDEST,
        (SessionOrder::Oldest, Some(_)) => &LIST_AGENT_SESSIONS_OLDEST,
    };
    let rows = tx
        .query(
            statement,
            &[
                &filter.agent_id.map(|id| *id.as_uuid()),
                &filter.task_id.map(|id| *id.as_uuid()),
                &words(&filter.statuses, SessionStatus::as_str),
                &filter.since,
                &filter.until,
                &after.and_then(Place::time),
                &after.map(|place| place.id),
                &limit.probe(),
            ],
        )
        .await?;
    let sessions = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(sessions, limit, order, Session::place))
}

/// Adds a report to what the session has used. It needs no version: sums come out the same in whatever order reports arrive.
///
/// # Errors
/// [`Error::NotFound`], [`Error::SessionEnded`], [`Error::SessionFull`].
pub async fn report(tx: &mut TenantTx, id: SessionId, report: &Valid<ReportUsage>) -> Result<Session, Error> {
    let (mut session, _) = lock(tx, id).await?;
    session.add(report)?;
    let (sums, calls) = (json!(session.tokens_used), Value::Array(report.tool_calls.clone()));
    let session = read(&tx.query_one(&ADD_USAGE, &[id.as_uuid(), &sums, &calls]).await?)?;
    let details = json!({ "tokens_used": report.tokens_used, "tool_calls": report.tool_calls.len() });
    tx.audit("session.report", &target(id), details);
    tx.publish("session.updated", session.summary());
    Ok(session)
}

/// Ends a session, well or not; once.
///
/// # Errors
/// [`Error::NotFound`], [`Error::SessionEnded`].
pub async fn end(tx: &mut TenantTx, id: SessionId, status: SessionStatus) -> Result<Session, Error> {
    let (mut session, now) = lock(tx, id).await?;
    session.end(status, now)?;
    let params: [&(dyn ToSql + Sync); 3] = [id.as_uuid(), &session.status.as_str(), &session.ended_at];
    let session = read(&tx.query_one(&END_SESSION, &params).await?)?;
    tx.audit("session.end", &target(id), json!({ "status": session.status }));
    tx.publish("session.updated", session.summary());
    Ok(session)
}

async fn lock(tx: &mut TenantTx, id: SessionId) -> Result<(Session, DateTime<Utc>), Error> {
    let row = tx.query_opt(&LOCK_SESSION, &[id.as_uuid()]).await?.ok_or_else(|| not_found(id))?;
    let now: DateTime<Utc> = column!(row, "clock");
    Ok((read(&row)?, now))
}

fn not_found(id: SessionId) -> Error {
    Error::NotFound { kind: Kind::Session, id: *id.as_uuid() }
}

fn target(id: SessionId) -> String {
    format!("session/{id}")
}

fn read(row: &Row) -> Result<Session, Error> {
    let id: Uuid = column!(row, "id");
    let corrupt = |column, reason: String| Error::Corrupt { kind: Kind::Session, id, column, reason };
    let task: Option<Uuid> = column!(row, "task_id");
    let status: &str = column!(row, "status");
    let (tokens_used, tool_calls): (Value, Value) = (column!(row, "tokens_used"), column!(row, "tool_calls"));
    Ok(Session {
        id: SessionId::from_uuid(id),
        agent_id: AgentId::from_uuid(column!(row, "agent_id")),
        task_id: task.map(TaskId::from_uuid),
        status: status.parse().map_err(|e: UnknownWord| corrupt("status", e.to_string()))?,
        tokens_used: serde_json::from_value(tokens_used).map_err(|e| corrupt("tokens_used", e.to_string()))?,
        tool_calls: serde_json::from_value(tool_calls).map_err(|e| corrupt("tool_calls", e.to_string()))?,
        started_at: column!(row, "started_at"),
        ended_at: column!(row, "ended_at"),
    })
}
