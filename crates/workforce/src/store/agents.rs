//! The table `agents`.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tenantry_http::Limit;
use tenantry_postgres::{DbError, Row, Statement, TenantTx, ToSql, statements};
use uuid::Uuid;

use super::quotas::take;
use super::{column, earliest_first, latest_first, quotas, sorted, words};
use crate::agent::{Agent, AgentFilter, AgentOrder, AgentStatus, CreateAgent, UpdateAgent};
use crate::quota::Quota;
use crate::{AgentId, Error, Kind, Page, Patch, Place, TaskId, Valid};

macro_rules! columns {
    () => {
        "id, name, role, personality_prompt, status, current_task_id, capabilities, tool_permissions, \
         version, created_at, updated_at, deleted_at"
    };
}

/// The conditions that all lists share.
macro_rules! list {
    () => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM tenant.agents \
             WHERE ($1::text[] IS NULL OR status = ANY ($1)) \
               AND ($2::text IS NULL OR role = $2) \
               AND ($3::text IS NULL OR starts_with(lower(name), lower($3))) \
               AND ($4::text IS NULL OR strpos(lower(name), lower($4)) > 0 OR strpos(lower(role), lower($4)) > 0) \
               AND ($5::timestamptz IS NULL OR created_at >= $5) \
               AND ($6::timestamptz IS NULL OR created_at < $6) \
               AND ($7 OR deleted_at IS NULL)"
        )
    };
}

statements! {
    /// One agent by id; deleted ones only when asked for.
    FIND_AGENT(UUID, BOOL) = concat!(
        "SELECT ", columns!(), " FROM tenant.agents WHERE id = $1 AND ($2 OR deleted_at IS NULL)"
    );
    /// A page of all live agents, the newest first: the usual question. A statement of its own because its plan is the same whatever it is
    /// asked with. Filters that may be absent are planned for anew each time, which costs as much as the answer.
    LIST_AGENTS(TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.agents WHERE deleted_at IS NULL", latest_first!("created_at", "$1", "$2", "$3")
    );
    /// A page of agents, the newest first.
    LIST_AGENTS_NEWEST(TEXT_ARRAY, TEXT, TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!(), latest_first!("created_at", "$8", "$9", "$10"));
    /// A page of agents, the oldest first.
    LIST_AGENTS_OLDEST(TEXT_ARRAY, TEXT, TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!(), earliest_first!("created_at", "$8", "$9", "$10"));
    /// A page of agents, what was changed last first.
    LIST_AGENTS_JUST_CHANGED(TEXT_ARRAY, TEXT, TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!(), latest_first!("updated_at", "$8", "$9", "$10"));
    /// A page of agents, what was changed longest ago first.
    LIST_AGENTS_LONG_UNCHANGED(TEXT_ARRAY, TEXT, TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!(), earliest_first!("updated_at", "$8", "$9", "$10"));
    /// A page of agents by name.
    LIST_AGENTS_BY_NAME(TEXT_ARRAY, TEXT, TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, BOOL, TEXT, UUID, INT8) =
        concat!(list!(), sorted!("lower(name)", > "lower($8)", "$9", "$10"));
    /// A page of agents by name, from the end.
    LIST_AGENTS_BY_NAME_BACKWARDS(TEXT_ARRAY, TEXT, TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, BOOL, TEXT, UUID, INT8) =
        concat!(list!(), sorted!("lower(name)", < "lower($8)", "$9", "$10"));
    /// A new agent, or no row: there is no place for one more.
    INSERT_AGENT(UUID, TEXT, TEXT, TEXT, TEXT, JSONB, JSONB, INT8) = concat!(
        "WITH place AS (", take!("agents", "''", "$8"), ") \
         INSERT INTO tenant.agents (id, name, role, personality_prompt, status, capabilities, tool_permissions) \
         SELECT $1, $2, $3, $4, $5, $6, $7 FROM place RETURNING ", columns!()
    );
    /// Changes what is not NULL; `current_task_id` has a flag of its own because NULL is one of its values.
    UPDATE_AGENT(UUID, INT8, TEXT, TEXT, TEXT, TEXT, BOOL, UUID, JSONB, JSONB) = concat!(
        "UPDATE tenant.agents SET \
           name = COALESCE($3, name), \
           role = COALESCE($4, role), \
           personality_prompt = COALESCE($5, personality_prompt), \
           status = COALESCE($6, status), \
           current_task_id = CASE WHEN $7 THEN $8 ELSE current_task_id END, \
           capabilities = COALESCE($9, capabilities), \
           tool_permissions = COALESCE($10, tool_permissions), \
           version = version + 1, updated_at = now() \
         WHERE id = $1 AND version = $2 AND deleted_at IS NULL RETURNING ", columns!()
    );
    /// Soft deletion, which gives the place back; the version is checked where one is given. The agent, then the counter, and only
    /// then the name is free: whoever creates waits for a name with the counter in hand.
    DELETE_AGENT(UUID, INT8) =
        "WITH found AS (SELECT id FROM tenant.agents WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE), \
         held AS (SELECT 1 FROM tenant.quota_counters WHERE name = 'agents' AND period = '' AND EXISTS (SELECT FROM found) \
           FOR NO KEY UPDATE), \
         gone AS (UPDATE tenant.agents SET deleted_at = now(), updated_at = now(), version = version + 1 \
           WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) AND deleted_at IS NULL AND (SELECT count(*) FROM held) >= 0 \
           RETURNING version), \
         freed AS (UPDATE tenant.quota_counters SET used = greatest(used - 1, 0) \
           WHERE name = 'agents' AND period = '' AND EXISTS (SELECT FROM gone)) \
         SELECT version FROM gone";
    /// Whether a live task of a live agent exists.
    AGENT_HAS_TASK(UUID, UUID) =
        "SELECT 1 FROM tenant.tasks WHERE id = $1 AND agent_id = $2 AND deleted_at IS NULL";
    /// Which of these agents are live. The lock keeps them so until the task that names them is committed: the foreign
    /// key alone would let a soft deletion pass by.
    LOCK_LIVE_AGENTS(UUID, UUID) =
        "SELECT id, now() AS clock FROM tenant.agents WHERE id IN ($1, $2) AND deleted_at IS NULL ORDER BY id FOR SHARE";
    /// Holds several agents at once against other changes, in the order of their ids.
    LOCK_AGENTS(UUID_ARRAY) =
        "SELECT id, status, deleted_at IS NULL AS live FROM tenant.agents WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    /// Puts an agent on a task that was started.
    BEGIN_WORK(UUID, UUID) = concat!(
        "UPDATE tenant.agents SET current_task_id = $2, status = 'working', version = version + 1, updated_at = now() \
         WHERE id = $1 AND deleted_at IS NULL AND (status <> 'working' OR (current_task_id = $2) IS NOT TRUE) RETURNING ",
        columns!()
    );
    /// Has an agent wait with the task it is on.
    WAIT_AT_WORK(UUID, UUID) = concat!(
        "UPDATE tenant.agents SET status = 'blocked', version = version + 1, updated_at = now() \
         WHERE id = $1 AND current_task_id = $2 AND status = 'working' AND deleted_at IS NULL RETURNING ", columns!()
    );
    /// Takes an agent off the task it is on, to the one that it started last of those it has still in work.
    LEAVE_WORK(UUID, UUID) = concat!(
        "UPDATE tenant.agents SET current_task_id = n.next, \
           status = CASE WHEN status = 'offline' THEN 'offline' WHEN n.next IS NULL THEN 'idle' ELSE 'working' END, \
           version = version + 1, updated_at = now() \
         FROM (SELECT (SELECT t.id FROM tenant.tasks t WHERE t.agent_id = $1 AND t.id <> $2 AND t.status = 'in_progress' \
                       AND t.deleted_at IS NULL ORDER BY t.started_at DESC, t.id DESC LIMIT 1) AS next) n \
         WHERE id = $1 AND current_task_id = $2 AND deleted_at IS NULL RETURNING ", columns!()
    );
}

/// Inserts an agent.
///
/// # Errors
/// [`Error::AgentNameTaken`] when a live agent has the name, [`Error::QuotaExceeded`], [`Error::StorageFrozen`].
pub async fn create(tx: &mut TenantTx, new: &Valid<CreateAgent>) -> Result<Agent, Error> {
    quotas::may_grow(tx)?;
    let id = AgentId::generate();
    let limit = quotas::limit(tx, Quota::Agents);
    let status = new.status.unwrap_or(AgentStatus::Idle);
    let row = tx
        .query_opt(
            &INSERT_AGENT,
            &[
                id.as_uuid(),
                &new.name,
                &new.role,
                &new.personality_prompt,
                &status.as_str(),
                &json!(new.capabilities),
                &Value::Object(new.tool_permissions.clone()),
                &limit,
            ],
        )
        .await
        .map_err(|e| refine(e, Some(&new.name)))?;
    let Some(row) = row else { return Err(quotas::exceeded(tx, Quota::Agents).await) };
    let agent = read(&row)?;
    tx.audit("agent.create", &target(id), json!({ "name": agent.name, "role": agent.role }));
    tx.publish("agent.created", json!(agent));
    Ok(agent)
}

/// Finds an agent; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: AgentId, include_deleted: bool) -> Result<Agent, Error> {
    let row = tx.query_opt(&FIND_AGENT, &[id.as_uuid(), &include_deleted]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of agents; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &AgentFilter,
    order: AgentOrder,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Agent>, Error> {
    let (time, text) = (after.and_then(Place::time), after.and_then(Place::text));
    let id = after.map(|place| place.id);
    if order == AgentOrder::Newest && *filter == AgentFilter::default() {
        let rows = tx.query(&LIST_AGENTS, &[&time, &id, &limit.probe()]).await?;
        return page(&rows, limit, order);
    }
    let (statement, key): (_, &(dyn ToSql + Sync)) = match order {
        AgentOrder::Newest => (&LIST_AGENTS_NEWEST, &time),
        AgentOrder::Oldest => (&LIST_AGENTS_OLDEST, &time),
        AgentOrder::JustChanged => (&LIST_AGENTS_JUST_CHANGED, &time),
        AgentOrder::LongUnchanged => (&LIST_AGENTS_LONG_UNCHANGED, &time),
        AgentOrder::Name => (&LIST_AGENTS_BY_NAME, &text),
        AgentOrder::NameBackwards => (&LIST_AGENTS_BY_NAME_BACKWARDS, &text),
    };
    let rows = tx
        .query(
            statement,
            &[
                &words(&filter.status, AgentStatus::as_str),
                &filter.role,
                &filter.name_prefix,
                &filter.search,
                &filter.created_after,
                &filter.created_before,
                &filter.include_deleted,
                key,
                &id,
                &limit.probe(),
            ],
        )
        .await?;
    page(&rows, limit, order)
}

fn page(rows: &[Row], limit: Limit, order: AgentOrder) -> Result<Page<Agent>, Error> {
    let agents = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(agents, limit, order, |agent| order.place(agent)))
}

/// Changes an agent that still has the version `expected`.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`Error::AgentNameTaken`], [`Error::UnknownTask`].
pub async fn update(
    tx: &mut TenantTx,
    id: AgentId,
    expected: i64,
    change: &Valid<UpdateAgent>,
) -> Result<Agent, Error> {
    let task = change.current_task_id.value().map(|task| *task.as_uuid());
    let row = tx
        .query_opt(
            &UPDATE_AGENT,
            &[
                id.as_uuid(),
                &expected,
                &change.name.value(),
                &change.role.value(),
                &or_empty(&change.personality_prompt, String::new),
                &change.status.value().map(|status| status.as_str()),
                &change.current_task_id.is_named(),
                &task,
                &or_empty(&change.capabilities, Vec::new).map(|list| json!(list)),
                &or_empty(&change.tool_permissions, Map::new).map(Value::Object),
            ],
        )
        .await
        .map_err(|e| match (e.constraint(), task) {
            (Some("agents_current_task_fk"), Some(id)) => Error::UnknownTask { pointer: "/current_task_id", id },
            _ => refine(e, change.name.value()),
        })?;
    let Some(row) = row else { return Err(why_unchanged(tx, id, expected).await) };
    // After the update, so that an unknown agent or an old version is reported first; the caller rolls back.
    if let Some(task) = task
        && !has_task(tx, id, task).await?
    {
        return Err(Error::UnknownTask { pointer: "/current_task_id", id: task });
    }
    let agent = read(&row)?;
    tx.audit("agent.update", &target(id), json!({ "version": agent.version, "changed": change.named() }));
    tx.publish("agent.updated", json!(agent));
    Ok(agent)
}

/// Marks an agent deleted. Its tasks stay; it gets no new ones, and its name is free again.
///
/// # Errors
/// [`Error::NotFound`]; with `expected` also [`Error::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, id: AgentId, expected: Option<i64>) -> Result<(), Error> {
    let Some(row) = tx.query_opt(&DELETE_AGENT, &[id.as_uuid(), &expected]).await? else {
        return Err(match expected {
            Some(expected) => why_unchanged(tx, id, expected).await,
            None => not_found(id),
        });
    };
    let version: i64 = column!(row, "version");
    tx.audit("agent.delete", &target(id), json!({ "version": version }));
    tx.publish("agent.deleted", json!({ "id": id, "version": version }));
    Ok(())
}

/// Holds the agents that a task names, each with the member that names it, against deletion until the commit. Gives the
/// database's clock.
///
/// # Errors
/// [`Error::UnknownAgent`] for the first that is not live.
pub(super) async fn hold_live(
    tx: &mut TenantTx,
    (pointer, agent): (&'static str, AgentId),
    other: (&'static str, AgentId),
) -> Result<DateTime<Utc>, Error> {
    let unknown = |pointer, id: AgentId| Error::UnknownAgent { pointer, id: *id.as_uuid() };
    let rows = tx.query(&LOCK_LIVE_AGENTS, &[agent.as_uuid(), other.1.as_uuid()]).await?;
    let mut live: Vec<Uuid> = Vec::with_capacity(rows.len());
    for row in &rows {
        live.push(column!(row, "id"));
    }
    for (pointer, id) in [(pointer, agent), other] {
        if !live.contains(id.as_uuid()) {
            return Err(unknown(pointer, id));
        }
    }
    let first = rows.first().ok_or_else(|| unknown(pointer, agent))?;
    Ok(column!(first, "clock"))
}

/// Whether a live task is this agent's.
pub(super) async fn has_task(tx: &mut TenantTx, agent: AgentId, task: Uuid) -> Result<bool, Error> {
    Ok(tx.query_opt(&AGENT_HAS_TASK, &[&task, agent.as_uuid()]).await?.is_some())
}

/// Holds the agent that gives a task away and the one that gets it, so that both can follow.
///
/// # Errors
/// [`Error::UnknownAgent`] when the one that gets it is not live.
pub(super) async fn hold_both(
    tx: &mut TenantTx,
    from: AgentId,
    (pointer, to): (&'static str, AgentId),
) -> Result<(), Error> {
    for row in hold(tx, &[*from.as_uuid(), *to.as_uuid()]).await? {
        let (id, live): (Uuid, bool) = (column!(row, "id"), column!(row, "live"));
        if live && id == *to.as_uuid() {
            return Ok(());
        }
    }
    Err(Error::UnknownAgent { pointer, id: *to.as_uuid() })
}

/// Holds an agent that asks for work.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::AgentOffline`].
pub(super) async fn hold_worker(tx: &mut TenantTx, id: AgentId) -> Result<(), Error> {
    let unknown = Error::UnknownAgent { pointer: "/agent_id", id: *id.as_uuid() };
    let rows = hold(tx, &[*id.as_uuid()]).await?;
    let Some(row) = rows.first() else { return Err(unknown) };
    let (status, live): (&str, bool) = (column!(row, "status"), column!(row, "live"));
    match live {
        false => Err(unknown),
        true if status == AgentStatus::Offline.as_str() => Err(Error::AgentOffline(*id.as_uuid())),
        true => Ok(()),
    }
}

/// Takes the locks that changes of these agents would take one by one.
pub(crate) async fn hold_many(tx: &mut TenantTx, ids: &[AgentId]) -> Result<(), Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
    if !ids.is_empty() {
        hold(tx, &ids).await?;
    }
    Ok(())
}

/// Locks agents, deleted ones as well, in the order of their ids, so that no two transactions wait for each other.
async fn hold(tx: &mut TenantTx, ids: &[Uuid]) -> Result<Vec<Row>, Error> {
    Ok(tx.query(&LOCK_AGENTS, &[&ids]).await?)
}

/// The agent has started this task.
pub(super) async fn begin(tx: &mut TenantTx, id: AgentId, task: TaskId) -> Result<(), Error> {
    follow(tx, &BEGIN_WORK, id, task).await
}

/// The agent's task waits for something, and the agent with it, if it is on that task.
pub(super) async fn wait(tx: &mut TenantTx, id: AgentId, task: TaskId) -> Result<(), Error> {
    follow(tx, &WAIT_AT_WORK, id, task).await
}

/// The agent is done with this task, if it is on it.
pub(super) async fn leave(tx: &mut TenantTx, id: AgentId, task: TaskId) -> Result<(), Error> {
    follow(tx, &LEAVE_WORK, id, task).await
}

/// The event of the task is the one that is audited; listeners are told of the agent as well.
async fn follow(tx: &mut TenantTx, statement: &'static Statement, id: AgentId, task: TaskId) -> Result<(), Error> {
    if let Some(row) = tx.query_opt(statement, &[id.as_uuid(), task.as_uuid()]).await? {
        tx.publish("agent.updated", json!(read(&row)?));
    }
    Ok(())
}

/// An update that met no row: is the agent gone, or has it another version?
async fn why_unchanged(tx: &mut TenantTx, id: AgentId, expected: i64) -> Error {
    match find(tx, id, false).await {
        Ok(agent) => Error::VersionConflict {
            kind: Kind::Agent,
            expected,
            actual: agent.version,
            current: Box::new(json!(agent)),
        },
        Err(error) => error,
    }
}

fn refine(error: DbError, name: Option<&String>) -> Error {
    match (error.constraint(), name) {
        (Some("agents_live_name"), Some(name)) => Error::AgentNameTaken(name.clone()),
        _ => error.into(),
    }
}

/// The new value for a column that has an empty value instead of NULL: a `null` in the patch empties it.
fn or_empty<T: Clone>(patch: &Patch<T>, empty: impl FnOnce() -> T) -> Option<T> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(empty()),
        Patch::Set(value) => Some(value.clone()),
    }
}

fn not_found(id: AgentId) -> Error {
    Error::NotFound { kind: Kind::Agent, id: *id.as_uuid() }
}

fn target(id: AgentId) -> String {
    format!("agent/{id}")
}

fn read(row: &Row) -> Result<Agent, Error> {
    let id: Uuid = column!(row, "id");
    let corrupt = |column, reason: String| Error::Corrupt { kind: Kind::Agent, id, column, reason };
    let status: &str = column!(row, "status");
    let task: Option<Uuid> = column!(row, "current_task_id");
    let capabilities: Value = column!(row, "capabilities");
    let tool_permissions: Value = column!(row, "tool_permissions");
    Ok(Agent {
        id: AgentId::from_uuid(id),
        name: column!(row, "name"),
        role: column!(row, "role"),
        personality_prompt: column!(row, "personality_prompt"),
        status: status.parse().map_err(|e: crate::UnknownWord| corrupt("status", e.to_string()))?,
        current_task_id: task.map(TaskId::from_uuid),
        capabilities: serde_json::from_value(capabilities).map_err(|e| corrupt("capabilities", e.to_string()))?,
        tool_permissions: serde_json::from_value(tool_permissions)
            .map_err(|e| corrupt("tool_permissions", e.to_string()))?,
        version: column!(row, "version"),
        created_at: column!(row, "created_at"),
        updated_at: column!(row, "updated_at"),
        deleted_at: column!(row, "deleted_at"),
    })
}
