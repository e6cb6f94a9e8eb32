//! The table `task_dependencies`.
//!
//! Whoever changes the graph of a company holds [`LOCK_GRAPH`] from before he looks at it until the commit. Otherwise each of
//! two transactions could add one half of a cycle and see nothing of the other's. Readers are not held up.
//!
//! Locks are taken in one order: the graph, tasks by id, agents by id.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;
use tenantry_http::Limit;
use tenantry_postgres::{Row, TenantTx, statements};
use uuid::Uuid;

use super::{column, tasks};
use crate::dependency::{
    AddDependency, Dependency, DependencyOrder, MAX_DEPENDENCIES, MAX_DEPTH, NamedTask, shortest_way,
};
use crate::{DependencyId, Error, Kind, Page, Place, TaskId, TaskStatus, UnknownWord, Valid};

macro_rules! columns {
    () => {
        "d.id, d.task_id, d.depends_on_task_id, d.depth, o.title, o.status, o.deleted_at"
    };
}

/// All tasks below one (`$1`): itself and what it waits for, directly or not. `UNION` and not `UNION ALL`: each task once,
/// however many ways lead to it.
macro_rules! below {
    () => {
        "WITH RECURSIVE below (id) AS (SELECT $1::uuid UNION SELECT d.depends_on_task_id \
         FROM tenant.task_dependencies d JOIN below b ON b.id = d.task_id) "
    };
}

/// A page of dependencies, and one row of NULLs where the task is there but has none (or no more).
macro_rules! list {
    ($edges:literal) => {
        concat!(
            "SELECT e.* FROM tenant.tasks t LEFT JOIN LATERAL (SELECT ", columns!(), " FROM tenant.task_dependencies d ",
            $edges, " JOIN tenant.tasks o ON o.id = d.depends_on_task_id \
              WHERE d.id > COALESCE($2, '00000000-0000-0000-0000-000000000000'::uuid) ORDER BY d.id LIMIT $3) e ON true \
              WHERE t.id = $1 AND t.deleted_at IS NULL ORDER BY e.id"
        )
    };
}

statements! {
    /// Lets one transaction at a time change who waits for whom; reading goes on.
    LOCK_GRAPH() = "LOCK TABLE tenant.task_dependencies IN SHARE ROW EXCLUSIVE MODE";
    /// What a task waits for directly.
    LIST_DEPENDENCIES(UUID, UUID, INT8) = list!("JOIN (SELECT $1::uuid AS id) b ON b.id = d.task_id");
    /// What a task waits for, directly or not, each dependency once.
    LIST_ALL_DEPENDENCIES(UUID, UUID, INT8) = concat!(below!(), list!("JOIN below b ON b.id = d.task_id"));
    /// One dependency.
    FIND_DEPENDENCY(UUID, UUID) = concat!(
        "SELECT ", columns!(), " FROM tenant.task_dependencies d JOIN tenant.tasks o ON o.id = d.depends_on_task_id \
         WHERE d.task_id = $1 AND d.depends_on_task_id = $2"
    );
    /// How many tasks a task waits for directly.
    COUNT_DEPENDENCIES(UUID) = "SELECT count(*) AS count FROM tenant.task_dependencies WHERE task_id = $1";
    /// Whether a task waits for another, directly or not, or is it.
    WAITS_FOR(UUID, UUID) = concat!(below!(), "SELECT $2::uuid IN (TABLE below) AS waits");
    /// All dependencies below a task.
    DEPENDENCIES_BELOW(UUID) = concat!(
        below!(), "SELECT d.task_id, d.depends_on_task_id FROM tenant.task_dependencies d JOIN below b ON b.id = d.task_id"
    );
    /// New dependencies of one task. Each is deeper by one than the deepest that follows it.
    INSERT_DEPENDENCIES(UUID, UUID_ARRAY, UUID_ARRAY) =
        "INSERT INTO tenant.task_dependencies (id, task_id, depends_on_task_id, depth) \
         SELECT n.id, $1, n.other, 1 + COALESCE((SELECT max(f.depth) FROM tenant.task_dependencies f WHERE f.task_id = n.other), 0) \
         FROM (SELECT unnest($2::uuid[]) AS id, unnest($3::uuid[]) AS other) n RETURNING depth";
    /// Takes a dependency away.
    DELETE_DEPENDENCY(UUID, UUID) =
        "DELETE FROM tenant.task_dependencies WHERE task_id = $1 AND depends_on_task_id = $2 RETURNING id";
    /// Corrects the depth of the dependencies on these tasks, whose own have changed; gives the tasks for which that changed
    /// something.
    DEEPEN(UUID_ARRAY) =
        "UPDATE tenant.task_dependencies d SET depth = n.below + 1 \
         FROM (SELECT t.id, COALESCE(max(f.depth), 0) AS below FROM (SELECT unnest($1::uuid[]) AS id) t \
               LEFT JOIN tenant.task_dependencies f ON f.task_id = t.id GROUP BY t.id) n \
         WHERE d.depends_on_task_id = n.id AND d.depth <> n.below + 1 RETURNING d.task_id, d.depth";
    /// What holds these tasks up.
    OPEN_DEPENDENCIES(UUID_ARRAY) =
        "SELECT d.task_id, o.id, o.title, o.status, o.deleted_at FROM tenant.task_dependencies d \
         JOIN tenant.tasks o ON o.id = d.depends_on_task_id \
         WHERE d.task_id = ANY ($1) AND o.status <> 'completed' ORDER BY d.id";
    /// Tasks by id, deleted ones as well.
    NAME_TASKS(UUID_ARRAY) = "SELECT id, title, status, deleted_at FROM tenant.tasks WHERE id = ANY ($1)";
}

/// What adding a dependency came to.
#[derive(Debug)]
pub enum Added {
    /// It is new.
    New(Dependency),
    /// It was there before.
    Known(Dependency),
}

/// Makes a task wait for another. A dependency that is there already is given back as it is.
///
/// # Errors
/// [`Error::NotFound`], [`Error::UnknownDependency`], [`Error::UnderWay`], [`Error::Cycle`], [`Error::TooManyDependencies`].
pub async fn add(tx: &mut TenantTx, id: TaskId, new: &Valid<AddDependency>) -> Result<Added, Error> {
    let other = new.depends_on_task_id;
    hold_graph(tx).await?;
    let task = tasks::lock(tx, id).await?.task;
    known(tx, &[other], |_| "/depends_on_task_id".to_owned()).await?;
    if let Some(row) = tx.query_opt(&FIND_DEPENDENCY, &[id.as_uuid(), other.as_uuid()]).await? {
        return Ok(Added::Known(read(&row)?));
    }
    if !matches!(task.status, TaskStatus::Pending | TaskStatus::Blocked | TaskStatus::Failed) {
        return Err(Error::UnderWay(task.status));
    }
    let row = tx.query_one(&WAITS_FOR, &[other.as_uuid(), id.as_uuid()]).await?;
    if column!(row, "waits") {
        return Err(Error::Cycle(cycle(tx, id, other).await?));
    }
    let row = tx.query_one(&COUNT_DEPENDENCIES, &[id.as_uuid()]).await?;
    let count: i64 = column!(row, "count");
    if usize::try_from(count).is_ok_and(|count| count >= MAX_DEPENDENCIES) {
        return Err(Error::TooManyDependencies);
    }
    insert(tx, id, &[other]).await?;
    deepen(tx, id).await?;
    tx.audit("task.depend", &tasks::target(id), json!({ "depends_on_task_id": other }));
    tx.publish("task.updated", json!(task));
    let row = tx.query_one(&FIND_DEPENDENCY, &[id.as_uuid(), other.as_uuid()]).await?;
    Ok(Added::New(read(&row)?))
}

/// Makes a task that was inserted by this transaction wait for others. Nobody waits for it yet, so no cycle can come of it.
/// The caller holds the graph.
pub(crate) async fn add_first(tx: &mut TenantTx, id: TaskId, others: &[TaskId]) -> Result<(), Error> {
    known(tx, others, |i| format!("/depends_on/{i}")).await?;
    insert(tx, id, others).await
}

/// Ends the waiting of a task for another.
///
/// # Errors
/// [`Error::NotFound`] for the task, [`Error::NoDependency`].
pub async fn remove(tx: &mut TenantTx, id: TaskId, other: TaskId) -> Result<(), Error> {
    hold_graph(tx).await?;
    let task = tasks::lock(tx, id).await?.task;
    if tx.query_opt(&DELETE_DEPENDENCY, &[id.as_uuid(), other.as_uuid()]).await?.is_none() {
        return Err(Error::NoDependency { task: *id.as_uuid(), other: *other.as_uuid() });
    }
    deepen(tx, id).await?;
    tx.audit("task.undepend", &tasks::target(id), json!({ "depends_on_task_id": other }));
    tx.publish("task.updated", json!(task));
    Ok(())
}

/// A page of what a task waits for, in the order in which it was added; `all` also what that waits for, and so on. One
/// statement.
///
/// # Errors
/// [`Error::NotFound`] for the task.
pub async fn list(
    tx: &mut TenantTx,
    id: TaskId,
    all: bool,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Dependency>, Error> {
    let statement = if all { &LIST_ALL_DEPENDENCIES } else { &LIST_DEPENDENCIES };
    let rows = tx.query(statement, &[id.as_uuid(), &after.map(|place| place.id), &limit.probe()]).await?;
    let Some(first) = rows.first() else { return Err(tasks::not_found(id)) };
    let none: Option<Uuid> = column!(first, "id");
    let rows = if none.is_none() { &[][..] } else { &rows[..] };
    let dependencies = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(dependencies, limit, DependencyOrder, DependencyOrder::place))
}

/// Waits until nobody else changes the graph, and keeps others from it until the commit.
pub(super) async fn hold_graph(tx: &mut TenantTx) -> Result<(), Error> {
    tx.execute(&LOCK_GRAPH, &[]).await?;
    Ok(())
}

/// Refuses to start a task that is held up. The caller has locked it, so that no dependency is added meanwhile.
pub(super) async fn none_open(tx: &mut TenantTx, id: TaskId) -> Result<(), Error> {
    let rows = tx.query(&OPEN_DEPENDENCIES, &[&&[*id.as_uuid()][..]]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    Err(Error::DependenciesNotDone(rows.iter().map(named).collect::<Result<_, _>>()?))
}

/// Which of these tasks are held up.
pub(super) async fn held_up(tx: &mut TenantTx, ids: &[Uuid]) -> Result<BTreeSet<Uuid>, Error> {
    let mut held = BTreeSet::new();
    for row in tx.query(&OPEN_DEPENDENCIES, &[&ids]).await? {
        held.insert(column!(row, "task_id"));
    }
    Ok(held)
}

/// Refuses tasks that are not there or deleted, by the place in the body that names them.
async fn known(tx: &mut TenantTx, ids: &[TaskId], pointer: impl Fn(usize) -> String) -> Result<(), Error> {
    let live: BTreeSet<Uuid> = name(tx, ids.iter().map(|id| *id.as_uuid()).collect())
        .await?
        .into_iter()
        .filter(|task| task.deleted_at.is_none())
        .map(|task| *task.id.as_uuid())
        .collect();
    match ids.iter().enumerate().find(|(_, id)| !live.contains(id.as_uuid())) {
        Some((i, id)) => Err(Error::UnknownDependency { pointer: pointer(i), id: *id.as_uuid() }),
        None => Ok(()),
    }
}

async fn insert(tx: &mut TenantTx, id: TaskId, others: &[TaskId]) -> Result<(), Error> {
    let ids: Vec<Uuid> = others.iter().map(|_| *DependencyId::generate().as_uuid()).collect();
    let others: Vec<Uuid> = others.iter().map(|other| *other.as_uuid()).collect();
    for row in tx.query(&INSERT_DEPENDENCIES, &[id.as_uuid(), &ids, &others]).await? {
        within_bounds(&row)?;
    }
    Ok(())
}

/// Corrects the depth of everything that waits for a task whose dependencies have changed, wave by wave. There are no cycles,
/// so it ends.
async fn deepen(tx: &mut TenantTx, id: TaskId) -> Result<(), Error> {
    let mut wave = vec![*id.as_uuid()];
    while !wave.is_empty() {
        let mut next = BTreeSet::new();
        for row in tx.query(&DEEPEN, &[&wave]).await? {
            within_bounds(&row)?;
            next.insert(column!(row, "task_id"));
        }
        wave = next.into_iter().collect();
    }
    Ok(())
}

fn within_bounds(row: &Row) -> Result<(), Error> {
    let depth: i32 = column!(row, "depth");
    if depth > MAX_DEPTH { Err(Error::TooManyDependencies) } else { Ok(()) }
}

/// The cycle that `id` waiting for `other` would close: from `id` by way of `other` back to `id`.
async fn cycle(tx: &mut TenantTx, id: TaskId, other: TaskId) -> Result<Vec<NamedTask>, Error> {
    let mut edges: Vec<(Uuid, Uuid)> = Vec::new();
    for row in tx.query(&DEPENDENCIES_BELOW, &[other.as_uuid()]).await? {
        edges.push((column!(row, "task_id"), column!(row, "depends_on_task_id")));
    }
    let mut way = vec![*id.as_uuid()];
    way.extend(shortest_way(&edges, *other.as_uuid(), *id.as_uuid()).unwrap_or_default());
    let names = name(tx, way.clone()).await?;
    Ok(way.iter().filter_map(|id| names.iter().find(|task| task.id.as_uuid() == id).cloned()).collect())
}

async fn name(tx: &mut TenantTx, ids: Vec<Uuid>) -> Result<Vec<NamedTask>, Error> {
    tx.query(&NAME_TASKS, &[&ids]).await?.iter().map(named).collect()
}

fn named(row: &Row) -> Result<NamedTask, Error> {
    let (id, deleted_at): (Uuid, Option<DateTime<Utc>>) = (column!(row, "id"), column!(row, "deleted_at"));
    Ok(NamedTask { id: TaskId::from_uuid(id), title: column!(row, "title"), status: status(row, id)?, deleted_at })
}

fn status(row: &Row, id: Uuid) -> Result<TaskStatus, Error> {
    let text: &str = column!(row, "status");
    let corrupt = |e: UnknownWord| Error::Corrupt { kind: Kind::Task, id, column: "status", reason: e.to_string() };
    text.parse().map_err(corrupt)
}

fn read(row: &Row) -> Result<Dependency, Error> {
    let other: Uuid = column!(row, "depends_on_task_id");
    let status = status(row, other)?;
    Ok(Dependency {
        id: DependencyId::from_uuid(column!(row, "id")),
        task_id: TaskId::from_uuid(column!(row, "task_id")),
        depends_on_task_id: TaskId::from_uuid(other),
        depth: column!(row, "depth"),
        done: status == TaskStatus::Completed,
        title: column!(row, "title"),
        status,
        deleted_at: column!(row, "deleted_at"),
    })
}
