//! The table `tasks`.

use chrono::{DateTime, Utc};
use serde_json::json;
use tenantry_http::Limit;
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use uuid::Uuid;

use super::quotas::{month, take};
use super::{agents, column, quotas};
use crate::page::{List, Page, Position};
use crate::quota::Quota;
use crate::task::{CreateTask, Priority, Task, TaskFilter, UpdateTask};
use crate::{AgentId, Error, Kind, TaskId, TaskStatus, UnknownWord, Valid};

const DEFAULT_MAX_RETRIES: i32 = 3;

macro_rules! columns {
    () => {
        "id, agent_id, created_by_id, title, description, status, previous_status, priority, progress_percent, \
         progress_details, result, deadline, started_at, completed_at, error_details, version, retry_count, \
         max_retries, created_at, deleted_at, provider, provider_account_id"
    };
}

/// The conditions and the order that both lists share.
macro_rules! page {
    () => {
        " AND ($2::text IS NULL OR status = $2) \
          AND ($3::text IS NULL OR priority = $3) \
          AND ($4::uuid IS NULL OR created_by_id = $4) \
          AND ($5::timestamptz IS NULL OR deadline < $5) \
          AND ($6 OR deleted_at IS NULL) \
          AND (created_at, id) < (COALESCE($7, 'infinity'::timestamptz), \
                                  COALESCE($8, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
          ORDER BY created_at DESC, id DESC LIMIT $9"
    };
}

statements! {
    /// One task by id; deleted ones only when asked for.
    FIND_TASK(UUID, BOOL) = concat!(
        "SELECT ", columns!(), " FROM tenant.tasks WHERE id = $1 AND ($2 OR deleted_at IS NULL)"
    );
    /// A live task, held against other changes, with the database's clock.
    LOCK_TASK(UUID) = concat!(
        "SELECT ", columns!(), ", now() AS clock FROM tenant.tasks WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE"
    );
    /// A page of all tasks. `$1` is always NULL; it keeps the parameters of both lists the same.
    LIST_TASKS(UUID, TEXT, TEXT, UUID, TIMESTAMPTZ, BOOL, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.tasks WHERE $1::uuid IS NULL", page!()
    );
    /// A page of one agent's tasks: a statement of its own, so that its plan can always use the index by agent.
    LIST_AGENT_TASKS(UUID, TEXT, TEXT, UUID, TIMESTAMPTZ, BOOL, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.tasks WHERE agent_id = $1", page!()
    );
    /// A new task, pending, or no row: the month's are used up.
    INSERT_TASK(UUID, UUID, UUID, TEXT, TEXT, TEXT, TIMESTAMPTZ, INT4, TEXT, UUID, TEXT, INT8) = concat!(
        "WITH place AS (", take!("tasks", month!("$11"), "$12"), ") \
         INSERT INTO tenant.tasks (id, agent_id, created_by_id, title, description, priority, deadline, max_retries, \
                                   provider, provider_account_id) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM place RETURNING ", columns!()
    );
    /// Writes what the machine decided; the version is checked again although the row is locked.
    UPDATE_TASK(UUID, INT8, UUID, TEXT, TEXT, TEXT, TEXT, TEXT, INT2, JSONB, JSONB, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ,
                JSONB, INT4, INT4, TEXT, UUID) = concat!(
        "UPDATE tenant.tasks SET agent_id = $3, title = $4, description = $5, status = $6, previous_status = $7, \
           priority = $8, progress_percent = $9, progress_details = $10, result = $11, deadline = $12, \
           started_at = $13, completed_at = $14, error_details = $15, retry_count = $16, max_retries = $17, \
           provider = $18, provider_account_id = $19, version = version + 1 \
         WHERE id = $1 AND version = $2 RETURNING ", columns!()
    );
    /// Soft deletion; the version is checked where one is given. A task in progress gives its place back; the month's count stays.
    DELETE_TASK(UUID, INT8) =
        "WITH gone AS (UPDATE tenant.tasks SET deleted_at = now(), version = version + 1 \
           WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) AND deleted_at IS NULL RETURNING version, status), \
         freed AS (UPDATE tenant.quota_counters SET used = greatest(used - 1, 0) \
           WHERE name = 'concurrent_tasks' AND period = '' AND EXISTS (SELECT FROM gone WHERE status = 'in_progress')) \
         SELECT version FROM gone";
}

/// Inserts a pending task for a live agent.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::UnknownProviderAccount`], [`Error::QuotaExceeded`], [`Error::StorageFrozen`].
pub async fn create(tx: &mut TenantTx, new: &Valid<CreateTask>) -> Result<Task, Error> {
    quotas::may_grow(tx)?;
    let id = TaskId::generate();
    let (zone, limit) = (quotas::zone(tx.tenant()), quotas::limit(tx, Quota::Tasks));
    let created_by = new.created_by_id.unwrap_or(new.agent_id);
    agents::hold_live(tx, ("/agent_id", new.agent_id), ("/created_by_id", created_by)).await?;
    let row = tx
        .query_opt(
            &INSERT_TASK,
            &[
                id.as_uuid(),
                new.agent_id.as_uuid(),
                created_by.as_uuid(),
                &new.title,
                &new.description,
                &new.priority.unwrap_or(Priority::Normal).as_str(),
                &new.deadline,
                &new.max_retries.unwrap_or(DEFAULT_MAX_RETRIES),
                &new.provider,
                &new.provider_account_id,
                &zone,
                &limit,
            ],
        )
        .await
        .map_err(|e| refine(e, new.provider_account_id))?;
    let Some(row) = row else { return Err(quotas::exceeded(tx, Quota::Tasks).await) };
    let task = read(&row)?;
    tx.audit("task.create", &target(id), json!({ "title": task.title, "agent_id": task.agent_id }));
    tx.publish("task.created", json!(task));
    Ok(task)
}

/// Finds a task; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: TaskId, include_deleted: bool) -> Result<Task, Error> {
    let row = tx.query_opt(&FIND_TASK, &[id.as_uuid(), &include_deleted]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of tasks, newest first; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &TaskFilter,
    after: Option<Position>,
    limit: Limit,
) -> Result<Page<Task>, Error> {
    let statement = if filter.agent_id.is_some() { &LIST_AGENT_TASKS } else { &LIST_TASKS };
    let rows = tx
        .query(
            statement,
            &[
                &filter.agent_id.map(|id| *id.as_uuid()),
                &filter.status.map(TaskStatus::as_str),
                &filter.priority.map(Priority::as_str),
                &filter.created_by_id.map(|id| *id.as_uuid()),
                &filter.deadline_before,
                &filter.include_deleted,
                &after.map(|p| p.created_at),
                &after.map(|p| p.id),
                &limit.probe(),
            ],
        )
        .await?;
    let tasks = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(tasks, limit, List::Tasks, |t| Position { created_at: t.created_at, id: *t.id.as_uuid() }))
}

/// Changes a task that still has the version `expected`.
///
/// The row is locked and read first, because only [`Task::apply`] knows which step the present status allows: the machine
/// stands in one place and not in SQL as well.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`Error::IllegalTransition`], [`Error::UnknownAgent`],
/// [`Error::UnknownProviderAccount`], [`Error::QuotaExceeded`].
pub async fn update(tx: &mut TenantTx, id: TaskId, expected: i64, change: &Valid<UpdateTask>) -> Result<Task, Error> {
    let row = tx.query_opt(&LOCK_TASK, &[id.as_uuid()]).await?.ok_or_else(|| not_found(id))?;
    let now: DateTime<Utc> = column!(row, "clock");
    let before = read(&row)?;
    if before.version != expected {
        return Err(conflict(expected, &before));
    }
    let mut task = before.clone();
    task.apply(change, now)?;
    if task.agent_id != before.agent_id {
        let named = ("/agent_id", task.agent_id);
        agents::hold_live(tx, named, named).await?;
    }
    quotas::follow(tx, before.status, task.status).await?;
    let row = write(tx, &task).await?;
    let after = read(&row)?;
    let mut details = json!({ "version": after.version, "changed": change.named() });
    if after.status != before.status {
        details["status"] = json!({ "from": before.status, "to": after.status });
    }
    tx.audit("task.update", &target(id), details);
    tx.publish("task.updated", json!(after));
    Ok(after)
}

/// Marks a task deleted.
///
/// # Errors
/// [`Error::NotFound`]; with `expected` also [`Error::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, id: TaskId, expected: Option<i64>) -> Result<(), Error> {
    let Some(row) = tx.query_opt(&DELETE_TASK, &[id.as_uuid(), &expected]).await? else {
        let task = find(tx, id, false).await?;
        return Err(expected.map_or_else(|| not_found(id), |expected| conflict(expected, &task)));
    };
    let version: i64 = column!(row, "version");
    tx.audit("task.delete", &target(id), json!({ "version": version }));
    tx.publish("task.deleted", json!({ "id": id, "version": version }));
    Ok(())
}

async fn write(tx: &mut TenantTx, task: &Task) -> Result<Row, Error> {
    tx.query_one(
        &UPDATE_TASK,
        &[
            task.id.as_uuid(),
            &task.version,
            task.agent_id.as_uuid(),
            &task.title,
            &task.description,
            &task.status.as_str(),
            &task.previous_status.map(TaskStatus::as_str),
            &task.priority.as_str(),
            &task.progress_percent,
            &task.progress_details,
            &task.result,
            &task.deadline,
            &task.started_at,
            &task.completed_at,
            &task.error_details,
            &task.retry_count,
            &task.max_retries,
            &task.provider,
            &task.provider_account_id,
        ],
    )
    .await
    .map_err(|e| refine(e, task.provider_account_id))
}

fn conflict(expected: i64, current: &Task) -> Error {
    Error::VersionConflict { kind: Kind::Task, expected, actual: current.version, current: Box::new(json!(current)) }
}

fn refine(error: DbError, account: Option<Uuid>) -> Error {
    match (error.constraint(), account) {
        (Some("tasks_provider_account_fk"), Some(account)) => Error::UnknownProviderAccount(account),
        _ => error.into(),
    }
}

fn not_found(id: TaskId) -> Error {
    Error::NotFound { kind: Kind::Task, id: *id.as_uuid() }
}

fn target(id: TaskId) -> String {
    format!("task/{id}")
}

fn read(row: &Row) -> Result<Task, Error> {
    let id: Uuid = column!(row, "id");
    let corrupt = |column| move |e: UnknownWord| Error::Corrupt { kind: Kind::Task, id, column, reason: e.to_string() };
    let status: &str = column!(row, "status");
    let previous: Option<&str> = column!(row, "previous_status");
    let priority: &str = column!(row, "priority");
    Ok(Task {
        id: TaskId::from_uuid(id),
        agent_id: AgentId::from_uuid(column!(row, "agent_id")),
        created_by_id: AgentId::from_uuid(column!(row, "created_by_id")),
        title: column!(row, "title"),
        description: column!(row, "description"),
        status: status.parse().map_err(corrupt("status"))?,
        previous_status: previous.map(str::parse).transpose().map_err(corrupt("previous_status"))?,
        priority: priority.parse().map_err(corrupt("priority"))?,
        progress_percent: column!(row, "progress_percent"),
        progress_details: column!(row, "progress_details"),
        result: column!(row, "result"),
        deadline: column!(row, "deadline"),
        started_at: column!(row, "started_at"),
        completed_at: column!(row, "completed_at"),
        error_details: column!(row, "error_details"),
        version: column!(row, "version"),
        retry_count: column!(row, "retry_count"),
        max_retries: column!(row, "max_retries"),
        created_at: column!(row, "created_at"),
        deleted_at: column!(row, "deleted_at"),
        provider: column!(row, "provider"),
        provider_account_id: column!(row, "provider_account_id"),
    })
}
