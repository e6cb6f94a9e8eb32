//! The table `tasks`.

use chrono::{DateTime, Utc};
use serde_json::json;
use tenantry_http::Limit;
use tenantry_postgres::{DbError, Row, TenantTx, ToSql, statements};
use uuid::Uuid;

use super::quotas::{Month, take};
use super::{agents, column, dependencies, earliest_first, latest_first, quotas, sorted, words};
use crate::quota::Quota;
use crate::task::{CreateTask, Priority, Task, TaskFilter, TaskOrder, UpdateTask};
use crate::{AgentId, Error, Kind, Page, Place, TaskId, TaskStatus, UnknownWord, Valid};

const DEFAULT_MAX_RETRIES: i32 = 3;

macro_rules! columns {
    () => {
        "id, agent_id, created_by_id, title, description, status, previous_status, priority, progress_percent, \
         progress_details, result, deadline, started_at, completed_at, error_details, version, retry_count, \
         max_retries, created_at, deleted_at, provider, provider_account_id"
    };
}

/// Whether a task of the outer statement (`t`) could be started as far as others are concerned. Nothing but `completed` will
/// do: a dependency that was cancelled or deleted has not done what is waited for.
macro_rules! nothing_open {
    () => {
        "NOT EXISTS (SELECT FROM tenant.task_dependencies d JOIN tenant.tasks o ON o.id = d.depends_on_task_id \
                     WHERE d.task_id = t.id AND o.status <> 'completed')"
    };
}

/// The conditions that all lists share.
macro_rules! list {
    ($agent:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM tenant.tasks t WHERE ",
            $agent,
            " AND ($2::text[] IS NULL OR status = ANY ($2)) \
              AND ($3::text[] IS NULL OR priority = ANY ($3)) \
              AND ($4::uuid IS NULL OR created_by_id = $4) \
              AND ($5::timestamptz IS NULL OR deadline < $5) \
              AND ($6::timestamptz IS NULL OR created_at >= $6) \
              AND ($7::timestamptz IS NULL OR created_at < $7) \
              AND ($8::text IS NULL OR strpos(lower(title), lower($8)) > 0) \
              AND ($9::bool IS NULL OR $9 = (status = 'pending' AND ",
            nothing_open!(),
            ")) \
              AND ($10 OR deleted_at IS NULL)"
        )
    };
}

/// Of whichever agent.
macro_rules! anybodys {
    () => {
        list!("($1::uuid IS NULL OR agent_id = $1)")
    };
}

/// How urgent a task is, as a number.
macro_rules! rank {
    () => {
        "array_position(ARRAY['low', 'normal', 'high', 'urgent'], priority)"
    };
}
pub(super) use {columns, nothing_open, rank};

/// When a task is due: one without a deadline after all others.
macro_rules! due {
    ($at:literal) => {
        concat!("COALESCE(", $at, ", 'infinity'::timestamptz)")
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
    /// A page of all live tasks, the newest first: the usual question, a statement of its own as that of agents is.
    LIST_TASKS(TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.tasks WHERE deleted_at IS NULL", latest_first!("created_at", "$1", "$2", "$3")
    );
    /// A page of one agent's live tasks, the newest first.
    LIST_AGENT_TASKS(UUID, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.tasks WHERE agent_id = $1 AND deleted_at IS NULL",
        latest_first!("created_at", "$2", "$3", "$4")
    );
    /// A page of all tasks, the newest first. `$1` is always NULL; it keeps the parameters of all lists the same.
    LIST_TASKS_NEWEST(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("$1::uuid IS NULL"), latest_first!("created_at", "$11", "$12", "$13"));
    /// A page of all tasks, the oldest first.
    LIST_TASKS_OLDEST(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("$1::uuid IS NULL"), earliest_first!("created_at", "$11", "$12", "$13"));
    /// A page of one agent's tasks: a statement of its own, so that its plan can always use the index by agent.
    LIST_AGENT_TASKS_NEWEST(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("agent_id = $1"), latest_first!("created_at", "$11", "$12", "$13"));
    /// A page of one agent's tasks, the oldest first.
    LIST_AGENT_TASKS_OLDEST(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!("agent_id = $1"), earliest_first!("created_at", "$11", "$12", "$13"));
    /// A page of tasks, the most urgent first.
    LIST_TASKS_URGENT(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, INT4, UUID, INT8) =
        concat!(anybodys!(), sorted!(rank!(), < "$11", "$12", "$13"));
    /// A page of tasks, the least urgent first.
    LIST_TASKS_LEISURELY(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, INT4, UUID, INT8) =
        concat!(anybodys!(), sorted!(rank!(), > "$11", "$12", "$13"));
    /// A page of tasks, what is due soonest first.
    LIST_TASKS_DUE_SOON(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(anybodys!(), sorted!(due!("deadline"), > due!("$11"), "$12", "$13"));
    /// A page of tasks, what is due last first.
    LIST_TASKS_DUE_LATE(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(anybodys!(), sorted!(due!("deadline"), < due!("$11"), "$12", "$13"));
    /// A page of tasks by title.
    LIST_TASKS_BY_TITLE(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TEXT, UUID, INT8) =
        concat!(anybodys!(), sorted!("lower(title)", > "lower($11)", "$12", "$13"));
    /// A page of tasks by title, from the end.
    LIST_TASKS_BY_TITLE_BACKWARDS(UUID, TEXT_ARRAY, TEXT_ARRAY, UUID, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, BOOL, BOOL, TEXT, UUID, INT8) =
        concat!(anybodys!(), sorted!("lower(title)", < "lower($11)", "$12", "$13"));
    /// A new task, pending, for agents that are live and stay so until the commit: the foreign key alone would let a soft deletion pass
    /// by. No row: one of them is not, the month is not the present one, or its tasks are used up.
    INSERT_TASK(UUID, UUID, UUID, TEXT, TEXT, TEXT, TIMESTAMPTZ, INT4, TEXT, UUID, TEXT, INT8, TIMESTAMPTZ, TIMESTAMPTZ) = concat!(
        "WITH live AS (SELECT id FROM tenant.agents WHERE id IN ($2, $3) AND deleted_at IS NULL ORDER BY id FOR SHARE), \
         place AS (", take!("tasks", "$11", "$12", only "now() >= $13 AND now() < $14 \
           AND (SELECT count(*) FROM live) = CASE WHEN $2::uuid = $3::uuid THEN 1 ELSE 2 END"), ") \
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
    /// Soft deletion; the version is checked where one is given. A task in progress gives its place back, with the agent in hand that
    /// follows it; the month's count stays.
    DELETE_TASK(UUID, INT8) = concat!(
        "WITH gone AS (UPDATE tenant.tasks SET deleted_at = now(), version = version + 1 \
           WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) AND deleted_at IS NULL RETURNING ", columns!(), "), \
         held AS (SELECT 1 FROM tenant.agents WHERE id = (SELECT agent_id FROM gone WHERE status = 'in_progress') \
           FOR NO KEY UPDATE), \
         freed AS (UPDATE tenant.quota_counters SET used = greatest(used - 1, 0) \
           WHERE name = 'concurrent_tasks' AND period = '' AND EXISTS (SELECT FROM held)) \
         SELECT ", columns!(), " FROM gone"
    );
    /// Holds several tasks at once, in the order of their ids.
    LOCK_TASKS(UUID_ARRAY) =
        "SELECT agent_id FROM tenant.tasks WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
}

/// Inserts a pending task for a live agent.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::UnknownProviderAccount`], [`Error::UnknownDependency`], [`Error::TooManyDependencies`],
/// [`Error::QuotaExceeded`], [`Error::StorageFrozen`].
pub async fn create(tx: &mut TenantTx, new: &Valid<CreateTask>) -> Result<Task, Error> {
    quotas::may_grow(tx)?;
    let id = TaskId::generate();
    if !new.depends_on.is_empty() {
        dependencies::hold_graph(tx).await?;
    }
    let created_by = new.created_by_id.unwrap_or(new.agent_id);
    let presumed = Month::at(tx, tx.presumed_now());
    let row = match insert(tx, id, new, created_by, &presumed).await? {
        Some(row) => row,
        None => {
            let now = agents::hold_live(tx, ("/agent_id", new.agent_id), ("/created_by_id", created_by)).await?;
            let row = match presumed.span.contains(&now) {
                true => None,
                false => insert(tx, id, new, created_by, &Month::at(tx, now)).await?,
            };
            let Some(row) = row else { return Err(quotas::exceeded(tx, Quota::Tasks).await) };
            row
        }
    };
    let task = read(&row)?;
    if !new.depends_on.is_empty() {
        dependencies::add_first(tx, id, &new.depends_on).await?;
    }
    tx.audit("task.create", &target(id), json!({ "title": task.title, "agent_id": task.agent_id }));
    tx.publish("task.created", json!(task));
    Ok(task)
}

async fn insert(
    tx: &mut TenantTx,
    id: TaskId,
    new: &CreateTask,
    created_by: AgentId,
    month: &Month,
) -> Result<Option<Row>, Error> {
    let limit = quotas::limit(tx, Quota::Tasks);
    tx.query_opt(
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
            &month.name,
            &limit,
            &month.span.start,
            &month.span.end,
        ],
    )
    .await
    .map_err(|e| refine(e, new.provider_account_id))
}

/// Finds a task; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: TaskId, include_deleted: bool) -> Result<Task, Error> {
    let row = tx.query_opt(&FIND_TASK, &[id.as_uuid(), &include_deleted]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of tasks; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &TaskFilter,
    order: TaskOrder,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Task>, Error> {
    let (time, text) = (after.and_then(Place::time), after.and_then(Place::text));
    let number = after.and_then(Place::number);
    let (id, agent) = (after.map(|place| place.id), filter.agent_id.map(|id| *id.as_uuid()));
    if order == TaskOrder::Newest && *filter == (TaskFilter { agent_id: filter.agent_id, ..TaskFilter::default() }) {
        let rows = match agent {
            Some(agent) => tx.query(&LIST_AGENT_TASKS, &[&agent, &time, &id, &limit.probe()]).await?,
            None => tx.query(&LIST_TASKS, &[&time, &id, &limit.probe()]).await?,
        };
        return page(&rows, limit, order);
    }
    let (statement, key): (_, &(dyn ToSql + Sync)) = match (order, filter.agent_id) {
        (TaskOrder::Newest, None) => (&LIST_TASKS_NEWEST, &time),
        (TaskOrder::Newest, Some(_)) => (&LIST_AGENT_TASKS_NEWEST, &time),
        (TaskOrder::Oldest, None) => (&LIST_TASKS_OLDEST, &time),
        (TaskOrder::Oldest, Some(_)) => (&LIST_AGENT_TASKS_OLDEST, &time),
        (TaskOrder::Urgent, _) => (&LIST_TASKS_URGENT, &number),
        (TaskOrder::Leisurely, _) => (&LIST_TASKS_LEISURELY, &number),
        (TaskOrder::DueSoon, _) => (&LIST_TASKS_DUE_SOON, &time),
        (TaskOrder::DueLate, _) => (&LIST_TASKS_DUE_LATE, &time),
        (TaskOrder::Title, _) => (&LIST_TASKS_BY_TITLE, &text),
        (TaskOrder::TitleBackwards, _) => (&LIST_TASKS_BY_TITLE_BACKWARDS, &text),
    };
    let rows = tx
        .query(
            statement,
            &[
                &agent,
                &words(&filter.status, TaskStatus::as_str),
                &words(&filter.priority, Priority::as_str),
                &filter.created_by_id.map(|id| *id.as_uuid()),
                &filter.deadline_before,
                &filter.created_after,
                &filter.created_before,
                &filter.search,
                &filter.ready,
                &filter.include_deleted,
                key,
                &id,
                &limit.probe(),
            ],
        )
        .await?;
    page(&rows, limit, order)
}

fn page(rows: &[Row], limit: Limit, order: TaskOrder) -> Result<Page<Task>, Error> {
    let tasks = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(tasks, limit, order, |task| order.place(task)))
}

/// A live task, held against other changes until the commit.
pub(super) struct Locked {
    pub(super) task: Task,
    /// The database's clock.
    pub(super) now: DateTime<Utc>,
}

/// Locks a live task.
///
/// # Errors
/// [`Error::NotFound`].
pub(super) async fn lock(tx: &mut TenantTx, id: TaskId) -> Result<Locked, Error> {
    let row = tx.query_opt(&LOCK_TASK, &[id.as_uuid()]).await?.ok_or_else(|| not_found(id))?;
    Locked::read(&row)
}

impl Locked {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { task: read(row)?, now: column!(row, "clock") })
    }
}

/// Changes a task that still has the version `expected`.
///
/// The row is locked and read first, because only [`Task::apply`] knows which step the present status allows: the machine
/// stands in one place and not in SQL as well.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`Error::IllegalTransition`], [`Error::DependenciesNotDone`],
/// [`Error::UnknownAgent`], [`Error::UnknownProviderAccount`], [`Error::QuotaExceeded`].
pub async fn update(tx: &mut TenantTx, id: TaskId, expected: i64, change: &Valid<UpdateTask>) -> Result<Task, Error> {
    let Locked { task: before, now } = lock(tx, id).await?;
    if before.version != expected {
        return Err(conflict(expected, &before));
    }
    let mut task = before.clone();
    task.apply(change, now)?;
    if task.agent_id != before.agent_id {
        agents::hold_both(tx, before.agent_id, ("/agent_id", task.agent_id)).await?;
    }
    save(tx, &before, &task, &change.named()).await
}

/// Writes a changed task, the one way to start one; what follows for its agent follows, and last the count of tasks in progress.
///
/// # Errors
/// [`Error::DependenciesNotDone`], [`Error::UnknownProviderAccount`], [`Error::QuotaExceeded`].
pub(super) async fn save(tx: &mut TenantTx, before: &Task, task: &Task, named: &[&str]) -> Result<Task, Error> {
    if task.status == TaskStatus::InProgress && before.status != TaskStatus::InProgress {
        dependencies::none_open(tx, task.id).await?;
    }
    let row = write(tx, task).await?;
    let after = read(&row)?;
    let mut details = json!({ "version": after.version, "changed": named });
    if after.status != before.status {
        details["status"] = json!({ "from": before.status, "to": after.status });
    }
    tx.audit("task.update", &target(task.id), details);
    tx.publish("task.updated", json!(after));
    follow(tx, before, Some(&after)).await?;
    quotas::follow(tx, before.status, after.status).await?;
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
    let task = read(&row)?;
    tx.audit("task.delete", &target(id), json!({ "version": task.version }));
    tx.publish("task.deleted", json!({ "id": id, "version": task.version }));
    follow(tx, &task, None).await
}

/// Takes the agents along: to the task that was started, into waiting with it, and on to another when it has ended, is gone or is
/// somebody else's. `after` is none for a task that was deleted.
async fn follow(tx: &mut TenantTx, before: &Task, after: Option<&Task>) -> Result<(), Error> {
    let at_work = |task: &Task| matches!(task.status, TaskStatus::InProgress | TaskStatus::Blocked);
    let stays = after.is_some_and(|after| after.agent_id == before.agent_id && at_work(after));
    if at_work(before) && !stays {
        agents::leave(tx, before.agent_id, before.id).await?;
    }
    let Some(after) = after else { return Ok(()) };
    let same = after.agent_id == before.agent_id && after.status == before.status;
    match after.status {
        TaskStatus::InProgress if !same => agents::begin(tx, after.agent_id, after.id).await,
        TaskStatus::Blocked if !same => agents::wait(tx, after.agent_id, after.id).await,
        _ => Ok(()),
    }
}

/// Takes all locks that changes of these tasks and tasks of these agents would take one by one: first the graph if somebody
/// `waits`, then tasks, then agents, each in the order of ids, and last the `counted`.
pub(crate) async fn hold_many(
    tx: &mut TenantTx,
    ids: &[TaskId],
    of: &[AgentId],
    waits: bool,
    counted: &[Quota],
) -> Result<(), Error> {
    if waits {
        dependencies::hold_graph(tx).await?;
    }
    let mut agents: Vec<AgentId> = of.to_vec();
    if !ids.is_empty() {
        let ids: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
        for row in tx.query(&LOCK_TASKS, &[&ids]).await? {
            agents.push(AgentId::from_uuid(column!(row, "agent_id")));
        }
    }
    agents::hold_many(tx, &agents).await?;
    quotas::hold(tx, counted).await
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

pub(super) fn not_found(id: TaskId) -> Error {
    Error::NotFound { kind: Kind::Task, id: *id.as_uuid() }
}

pub(super) fn target(id: TaskId) -> String {
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
