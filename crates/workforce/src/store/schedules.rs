//! The table `schedules`, and what is done when one is due.
//!
//! Whatever makes a schedule due earlier sets the tenant's alarm in the same transaction, as its last statement; see
//! [`TenantTx::set_alarm`].

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tenantry_core::calendar::Tz;
use tenantry_http::{Limit, Problem};
use tenantry_postgres::{DbError, Row, TenantTx, ToSql, statements};
use uuid::Uuid;

use super::{agents, column, earliest_first, latest_first, sorted, tasks};
use crate::schedule::{
    CreateSchedule, RunFailure, Schedule, ScheduleFilter, ScheduleOrder, TaskTemplate, UpdateSchedule,
};
use crate::task::Task;
use crate::{AgentId, Error, Kind, Page, Patch, Place, ScheduleId, TaskId, Valid};

/// The alarm that rings when a schedule is due.
pub const ALARM: &str = "schedules";
/// Runs in one transaction. What is left is due at once again.
const BATCH: i64 = 50;

macro_rules! columns {
    () => {
        "id, agent_id, name, cron_expression, time_zone, task_template, enabled, last_run_at, next_run_at, last_task_id, \
         failure_count, last_error, version, created_at, updated_at, deleted_at"
    };
}

/// The conditions that all lists share.
macro_rules! list {
    () => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM tenant.schedules \
             WHERE ($1::bool IS NULL OR enabled = $1) \
               AND ($2::uuid IS NULL OR agent_id = $2) \
               AND ($3 OR deleted_at IS NULL)"
        )
    };
}

statements! {
    /// One schedule by id; deleted ones only when asked for.
    FIND_SCHEDULE(UUID, BOOL) = concat!(
        "SELECT ", columns!(), " FROM tenant.schedules WHERE id = $1 AND ($2 OR deleted_at IS NULL)"
    );
    /// A live schedule, held against other changes and against runs.
    LOCK_SCHEDULE(UUID) = concat!(
        "SELECT ", columns!(), " FROM tenant.schedules WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE"
    );
    /// A page of schedules, the newest first. A company has tens of them, so no index is kept for any of these.
    LIST_SCHEDULES_NEWEST(BOOL, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!(), latest_first!("created_at", "$4", "$5", "$6"));
    /// A page of schedules, the oldest first.
    LIST_SCHEDULES_OLDEST(BOOL, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(list!(), earliest_first!("created_at", "$4", "$5", "$6"));
    /// A page of schedules, what is due next first.
    LIST_SCHEDULES_SOONEST(BOOL, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) = concat!(
        list!(),
        sorted!("COALESCE(next_run_at, 'infinity'::timestamptz)", > "COALESCE($4, 'infinity'::timestamptz)", "$5", "$6")
    );
    /// A page of schedules by name.
    LIST_SCHEDULES_BY_NAME(BOOL, UUID, BOOL, TEXT, UUID, INT8) =
        concat!(list!(), sorted!("lower(name)", > "lower($4)", "$5", "$6"));
    /// A page of schedules by name, from the end.
    LIST_SCHEDULES_BY_NAME_BACKWARDS(BOOL, UUID, BOOL, TEXT, UUID, INT8) =
        concat!(list!(), sorted!("lower(name)", < "lower($4)", "$5", "$6"));
    /// A new schedule.
    INSERT_SCHEDULE(UUID, UUID, TEXT, TEXT, TEXT, JSONB, BOOL, TIMESTAMPTZ) = concat!(
        "INSERT INTO tenant.schedules (id, agent_id, name, cron_expression, time_zone, task_template, enabled, next_run_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ", columns!()
    );
    /// Writes a schedule whose row is held.
    UPDATE_SCHEDULE(UUID, UUID, TEXT, TEXT, TEXT, JSONB, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT4, JSONB) = concat!(
        "UPDATE tenant.schedules SET agent_id = $2, name = $3, cron_expression = $4, time_zone = $5, task_template = $6, \
           enabled = $7, last_run_at = $8, next_run_at = $9, last_task_id = $10, failure_count = $11, last_error = $12, \
           version = version + 1, updated_at = now() \
         WHERE id = $1 RETURNING ", columns!()
    );
    /// Soft deletion; the version is checked where one is given.
    DELETE_SCHEDULE(UUID, INT8) =
        "UPDATE tenant.schedules SET deleted_at = now(), updated_at = now(), version = version + 1, next_run_at = NULL \
         WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) AND deleted_at IS NULL RETURNING version";
    /// What is due, longest first, held. Whoever waits here for another server finds the row as that one leaves it: not due any more.
    LOCK_DUE_SCHEDULES(TIMESTAMPTZ, INT8) = concat!(
        "SELECT ", columns!(), " FROM tenant.schedules WHERE enabled AND deleted_at IS NULL AND next_run_at <= $1 \
         ORDER BY next_run_at, id LIMIT $2 FOR NO KEY UPDATE"
    );
    /// When something is due next.
    NEXT_DUE() = "SELECT min(next_run_at) AS next FROM tenant.schedules WHERE enabled AND deleted_at IS NULL";
    /// Whether an account is there, held as the foreign key of a task would hold it.
    HOLD_ACCOUNT(UUID) = "SELECT 1 AS there FROM tenant.provider_accounts WHERE id = $1 FOR KEY SHARE";
}

/// Inserts a schedule. `zone`: that of the company, for one that names none; `now`: from when on it is due.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::UnknownAccountIn`].
pub async fn create(
    tx: &mut TenantTx,
    new: &Valid<CreateSchedule>,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Schedule, Error> {
    let id = ScheduleId::generate();
    hold_named(tx, Some(new.agent_id), Some(&new.task_template)).await?;
    let draft = Schedule {
        id,
        agent_id: new.agent_id,
        name: new.name.clone(),
        cron_expression: new.cron_expression.trim().to_owned(),
        time_zone: new.time_zone.clone().unwrap_or_else(|| zone.name().to_owned()),
        task_template: json!(new.task_template),
        enabled: new.enabled,
        next_runs: Vec::new(),
        last_run_at: None,
        next_run_at: None,
        last_task_id: None,
        failure_count: 0,
        last_error: None,
        version: 1,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let next = if draft.enabled { draft.next_after(now)? } else { None };
    let row = tx
        .query_one(
            &INSERT_SCHEDULE,
            &[
                id.as_uuid(),
                draft.agent_id.as_uuid(),
                &draft.name,
                &draft.cron_expression,
                &draft.time_zone,
                &draft.task_template,
                &draft.enabled,
                &next,
            ],
        )
        .await?;
    let schedule = read(&row)?;
    let facts = json!({
        "name": schedule.name, "agent_id": schedule.agent_id, "cron_expression": schedule.cron_expression,
        "time_zone": schedule.time_zone,
    });
    tx.audit("schedule.create", &target(id), facts);
    tx.publish("schedule.created", json!(schedule));
    set_alarm(tx, &schedule).await?;
    Ok(schedule)
}

/// Finds a schedule; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: ScheduleId, include_deleted: bool) -> Result<Schedule, Error> {
    let row = tx.query_opt(&FIND_SCHEDULE, &[id.as_uuid(), &include_deleted]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of schedules; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &ScheduleFilter,
    order: ScheduleOrder,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Schedule>, Error> {
    let (time, text) = (after.and_then(Place::time), after.and_then(Place::text));
    let (statement, key): (_, &(dyn ToSql + Sync)) = match order {
        ScheduleOrder::Newest => (&LIST_SCHEDULES_NEWEST, &time),
        ScheduleOrder::Oldest => (&LIST_SCHEDULES_OLDEST, &time),
        ScheduleOrder::Soonest => (&LIST_SCHEDULES_SOONEST, &time),
        ScheduleOrder::Name => (&LIST_SCHEDULES_BY_NAME, &text),
        ScheduleOrder::NameBackwards => (&LIST_SCHEDULES_BY_NAME_BACKWARDS, &text),
    };
    let agent = filter.agent_id.map(|id| *id.as_uuid());
    let (id, probe) = (after.map(|place| place.id), limit.probe());
    let rows = tx.query(statement, &[&filter.enabled, &agent, &filter.include_deleted, key, &id, &probe]).await?;
    let schedules = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(schedules, limit, order, |schedule| order.place(schedule)))
}

/// Changes a schedule that still has the version `expected`.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`Error::UnknownAgent`], [`Error::UnknownAccountIn`].
pub async fn update(
    tx: &mut TenantTx,
    id: ScheduleId,
    expected: i64,
    change: &Valid<UpdateSchedule>,
    now: DateTime<Utc>,
) -> Result<Schedule, Error> {
    let mut schedule = lock(tx, id).await?;
    if schedule.version != expected {
        return Err(conflict(expected, &schedule));
    }
    hold_named(tx, change.agent_id.value().copied(), change.task_template.value()).await?;
    schedule.apply(change, now)?;
    let after = write(tx, &schedule).await?;
    tx.audit("schedule.update", &target(id), json!({ "version": after.version, "changed": change.named() }));
    tx.publish("schedule.updated", json!(after));
    if !matches!((&change.cron_expression, &change.time_zone, &change.enabled), (Patch::Keep, Patch::Keep, Patch::Keep))
    {
        set_alarm(tx, &after).await?;
    }
    Ok(after)
}

/// Marks a schedule deleted. Tasks that it made stay.
///
/// # Errors
/// [`Error::NotFound`]; with `expected` also [`Error::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, id: ScheduleId, expected: Option<i64>) -> Result<(), Error> {
    let Some(row) = tx.query_opt(&DELETE_SCHEDULE, &[id.as_uuid(), &expected]).await? else {
        let schedule = find(tx, id, false).await?;
        return Err(expected.map_or_else(|| not_found(id), |expected| conflict(expected, &schedule)));
    };
    let version: i64 = column!(row, "version");
    tx.audit("schedule.delete", &target(id), json!({ "version": version }));
    tx.publish("schedule.deleted", json!({ "id": id, "version": version }));
    Ok(())
}

/// Makes a schedule's task now, whether it is enabled or not. When it is due next stays as it is.
///
/// # Errors
/// [`Error::NotFound`], and whatever making the task by hand would be refused with.
pub async fn run_now(tx: &mut TenantTx, id: ScheduleId, now: DateTime<Utc>) -> Result<Task, Error> {
    let mut schedule = lock(tx, id).await?;
    let task = tasks::create(tx, &schedule.task(now)?).await?;
    schedule.last_run_at = Some(now);
    schedule.last_task_id = Some(task.id);
    schedule.last_error = None;
    let after = write(tx, &schedule).await?;
    ran(tx, &after, task.id, None);
    Ok(task)
}

/// What was done of what was due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Runs that made a task.
    pub ran: usize,
    /// Runs that made none.
    pub failed: usize,
    /// Runs put aside because they were due while the company was not served.
    pub skipped: usize,
    /// Schedules disabled because they failed too often.
    pub disabled: usize,
}

/// Why what was due was not done. The transaction is to be rolled back.
#[derive(Debug)]
pub enum NotDone {
    /// This schedule cannot make its task. To be tried again with that known, for a failed statement has ended the transaction.
    Fails(ScheduleId, RunFailure),
    /// The database.
    Database(DbError),
}

impl From<DbError> for NotDone {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// Runs what is due at `now`, once each, however often it was missed, and sets the alarm to what is due next.
///
/// `failing` are the schedules that are known not to make their task; after `most` failures in a row one is disabled.
///
/// # Errors
/// [`NotDone`].
pub async fn run_due(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
    most: i32,
    failing: &HashMap<ScheduleId, RunFailure>,
) -> Result<Done, NotDone> {
    let resumed = tx.resumed_at(ALARM).await?;
    let mut done = Done::default();
    for row in tx.query(&LOCK_DUE_SCHEDULES, &[&now, &BATCH]).await? {
        let schedule = read(&row).map_err(of_database)?;
        run(tx, schedule, now, most, failing, resumed, &mut done).await?;
    }
    tx.hold_alarm(ALARM).await?;
    let row = tx.query_one(&NEXT_DUE, &[]).await?;
    let next: Option<DateTime<Utc>> = row.try_get("next").map_err(DbError::from)?;
    tx.reset_alarm(ALARM, next, resumed).await?;
    Ok(done)
}

async fn run(
    tx: &mut TenantTx,
    mut schedule: Schedule,
    now: DateTime<Utc>,
    most: i32,
    failing: &HashMap<ScheduleId, RunFailure>,
    resumed: Option<DateTime<Utc>>,
    done: &mut Done,
) -> Result<(), NotDone> {
    let due = schedule.next_run_at.unwrap_or(now);
    let id = schedule.id;
    if let Some(failure) = failing.get(&id) {
        schedule.failed(failure.clone(), most, now);
        let after = write(tx, &schedule).await.map_err(of_database)?;
        done.failed += 1;
        let facts = json!({ "due_at": due, "failure_count": after.failure_count, "error": after.last_error });
        tx.audit("schedule.fail", &target(id), facts);
        tx.publish("schedule.failed", json!({ "schedule": after, "due_at": due }));
        if !after.enabled {
            done.disabled += 1;
            tx.audit("schedule.disable", &target(id), json!({ "failure_count": after.failure_count }));
            tx.publish("schedule.disabled", json!({ "schedule": after }));
        }
        return Ok(());
    }
    if resumed.is_some_and(|resumed| due <= resumed) {
        schedule.next_run_at = schedule.next_after(now).map_err(|error| fails(id, error, now))?;
        let after = write(tx, &schedule).await.map_err(of_database)?;
        done.skipped += 1;
        tx.audit("schedule.skip", &target(id), json!({ "due_at": due }));
        tx.publish("schedule.updated", json!(after));
        return Ok(());
    }
    let task = match schedule.task(due) {
        Ok(body) => tasks::create(tx, &body).await,
        Err(error) => Err(error),
    };
    let task = task.map_err(|error| fails(id, error, now))?;
    schedule.succeeded(task.id, now).map_err(|error| fails(id, error, now))?;
    let after = write(tx, &schedule).await.map_err(of_database)?;
    ran(tx, &after, task.id, Some(due));
    done.ran += 1;
    Ok(())
}

/// Notes a run. Without `due`, somebody asked for it.
fn ran(tx: &mut TenantTx, schedule: &Schedule, task: TaskId, due: Option<DateTime<Utc>>) {
    tx.audit("schedule.run", &target(schedule.id), json!({ "task_id": task, "due_at": due }));
    tx.publish("schedule.run", json!({ "schedule": schedule, "task_id": task, "due_at": due }));
}

/// Tells a schedule that cannot make its task from a database that cannot be used just now, which is no fault of the schedule.
fn fails(id: ScheduleId, error: Error, now: DateTime<Utc>) -> NotDone {
    match error {
        // The classes of data and constraints: the statement will not do any better later.
        Error::Database(error) if !error.sqlstate().is_some_and(|s| s.starts_with("22") || s.starts_with("23")) => {
            NotDone::Database(error)
        }
        error => {
            let problem = Problem::from(error).body(None, None);
            NotDone::Fails(id, RunFailure { code: problem.code, detail: problem.message, at: now })
        }
    }
}

fn of_database(error: Error) -> NotDone {
    NotDone::Database(match error {
        Error::Database(error) => error,
        _ => DbError::Misuse("a schedule's row cannot be read or written"),
    })
}

/// Sees to it that the agents and the account that a schedule names are there, and stay until it is committed.
async fn hold_named(tx: &mut TenantTx, agent: Option<AgentId>, template: Option<&TaskTemplate>) -> Result<(), Error> {
    let agent = agent.map(|id| ("/agent_id", id));
    let giver = template.and_then(|template| template.created_by_id).map(|id| ("/task_template/created_by_id", id));
    if let Some(first) = agent.or(giver) {
        agents::hold_live(tx, first, giver.unwrap_or(first)).await?;
    }
    if let Some(id) = template.and_then(|template| template.provider_account_id)
        && tx.query_opt(&HOLD_ACCOUNT, &[&id]).await?.is_none()
    {
        return Err(Error::UnknownAccountIn { pointer: "/task_template/provider_account_id", id });
    }
    Ok(())
}

async fn set_alarm(tx: &mut TenantTx, schedule: &Schedule) -> Result<(), Error> {
    if let Some(next) = schedule.next_run_at {
        tx.set_alarm(ALARM, next).await?;
    }
    Ok(())
}

async fn lock(tx: &mut TenantTx, id: ScheduleId) -> Result<Schedule, Error> {
    let row = tx.query_opt(&LOCK_SCHEDULE, &[id.as_uuid()]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

async fn write(tx: &mut TenantTx, schedule: &Schedule) -> Result<Schedule, Error> {
    let row = tx
        .query_one(
            &UPDATE_SCHEDULE,
            &[
                schedule.id.as_uuid(),
                schedule.agent_id.as_uuid(),
                &schedule.name,
                &schedule.cron_expression,
                &schedule.time_zone,
                &schedule.task_template,
                &schedule.enabled,
                &schedule.last_run_at,
                &schedule.next_run_at,
                &schedule.last_task_id.map(|id| *id.as_uuid()),
                &schedule.failure_count,
                &schedule.last_error.as_ref().map(|error| json!(error)),
            ],
        )
        .await?;
    read(&row)
}

fn conflict(expected: i64, current: &Schedule) -> Error {
    let (actual, current) = (current.version, Box::new(json!(current)));
    Error::VersionConflict { kind: Kind::Schedule, expected, actual, current }
}

fn not_found(id: ScheduleId) -> Error {
    Error::NotFound { kind: Kind::Schedule, id: *id.as_uuid() }
}

fn target(id: ScheduleId) -> String {
    format!("schedule/{id}")
}

fn read(row: &Row) -> Result<Schedule, Error> {
    let task: Option<Uuid> = column!(row, "last_task_id");
    let failure: Option<Value> = column!(row, "last_error");
    let mut schedule = Schedule {
        id: ScheduleId::from_uuid(column!(row, "id")),
        agent_id: AgentId::from_uuid(column!(row, "agent_id")),
        name: column!(row, "name"),
        cron_expression: column!(row, "cron_expression"),
        time_zone: column!(row, "time_zone"),
        task_template: column!(row, "task_template"),
        enabled: column!(row, "enabled"),
        next_runs: Vec::new(),
        last_run_at: column!(row, "last_run_at"),
        next_run_at: column!(row, "next_run_at"),
        last_task_id: task.map(TaskId::from_uuid),
        failure_count: column!(row, "failure_count"),
        last_error: None,
        version: column!(row, "version"),
        created_at: column!(row, "created_at"),
        updated_at: column!(row, "updated_at"),
        deleted_at: column!(row, "deleted_at"),
    };
    let unreadable = |error: serde_json::Error| schedule.corrupt("last_error", error.to_string());
    schedule.last_error = failure.map(serde_json::from_value).transpose().map_err(unreadable)?;
    schedule.next_runs = schedule.runs_ahead();
    Ok(schedule)
}
