//! The table `activity_logs`. There is no statement that changes or removes an entry, and the tenant's role may not run one.

use serde_json::json;
use tenantry_http::Limit;
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use uuid::Uuid;

use super::{column, earliest_first, latest_first};
use crate::activity::{Activity, ActivityFilter, ActivityOrder, CreateActivity};
use crate::{ActivityId, AgentId, Error, Kind, Page, Place, TaskId, Valid};

macro_rules! columns {
    () => {
        "id, agent_id, task_id, action, details, \"timestamp\""
    };
}

/// The conditions that all lists share.
macro_rules! list {
    ($whose:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM tenant.activity_logs WHERE ",
            $whose,
            " AND ($3::text[] IS NULL OR action = ANY ($3)) \
              AND ($4::timestamptz IS NULL OR \"timestamp\" >= $4) \
              AND ($5::timestamptz IS NULL OR \"timestamp\" < $5)"
        )
    };
}

/// The whole log. The parameters are named all the same, so that all lists have the same.
macro_rules! all {
    () => {
        list!("$1::uuid IS NULL AND $2::uuid IS NULL")
    };
}

/// What one agent did.
macro_rules! of_agent {
    () => {
        list!("agent_id = $1 AND $2::uuid IS NULL")
    };
}

/// What was done on one task.
macro_rules! on_task {
    () => {
        list!("($1::uuid IS NULL OR agent_id = $1) AND task_id = $2")
    };
}

statements! {
    /// One entry by id.
    FIND_ACTIVITY(UUID) = concat!("SELECT ", columns!(), " FROM tenant.activity_logs WHERE id = $1");
    /// A page of the whole log, the newest first.
    LIST_ACTIVITY_NEWEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(all!(), latest_first!("\"timestamp\"", "$6", "$7", "$8"));
    /// A page of the whole log, the oldest first.
    LIST_ACTIVITY_OLDEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(all!(), earliest_first!("\"timestamp\"", "$6", "$7", "$8"));
    /// A page of what one agent did, by the index for it, the newest first.
    LIST_AGENT_ACTIVITY_NEWEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(of_agent!(), latest_first!("\"timestamp\"", "$6", "$7", "$8"));
    /// A page of what one agent did, by the index for it, the oldest first.
    LIST_AGENT_ACTIVITY_OLDEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(of_agent!(), earliest_first!("\"timestamp\"", "$6", "$7", "$8"));
    /// A page of what was done on one task, by the index for it, the newest first.
    LIST_TASK_ACTIVITY_NEWEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(on_task!(), latest_first!("\"timestamp\"", "$6", "$7", "$8"));
    /// A page of what was done on one task, by the index for it, the oldest first.
    LIST_TASK_ACTIVITY_OLDEST(UUID, UUID, TEXT_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, UUID, INT8) =
        concat!(on_task!(), earliest_first!("\"timestamp\"", "$6", "$7", "$8"));
    /// A new entry of a live agent. The task is looked after by its foreign key.
    INSERT_ACTIVITY(UUID, UUID, UUID, TEXT, JSONB) = concat!(
        "INSERT INTO tenant.activity_logs (id, agent_id, task_id, action, details) \
         SELECT $1::uuid, id, $3::uuid, $4::text, $5::jsonb FROM tenant.agents WHERE id = $2 AND deleted_at IS NULL RETURNING ", columns!()
    );
}

/// Appends an entry.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::UnknownTask`].
pub async fn append(tx: &mut TenantTx, new: &Valid<CreateActivity>) -> Result<Activity, Error> {
    let id = ActivityId::generate();
    let task = new.task_id.map(|task| *task.as_uuid());
    let row = tx
        .query_opt(&INSERT_ACTIVITY, &[id.as_uuid(), new.agent_id.as_uuid(), &task, &new.action, &new.details])
        .await
        .map_err(|error| refine(error, task))?;
    let unknown = || Error::UnknownAgent { pointer: "/agent_id", id: *new.agent_id.as_uuid() };
    let entry = read(&row.ok_or_else(unknown)?)?;
    let details = json!({ "agent_id": entry.agent_id, "task_id": entry.task_id, "action": entry.action });
    tx.audit("activity.append", &format!("activity/{id}"), details);
    tx.publish("activity.created", json!(entry));
    Ok(entry)
}

/// Finds an entry; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: ActivityId) -> Result<Activity, Error> {
    let row = tx.query_opt(&FIND_ACTIVITY, &[id.as_uuid()]).await?;
    read(&row.ok_or(Error::NotFound { kind: Kind::Activity, id: *id.as_uuid() })?)
}

/// A page of the log; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &ActivityFilter,
    order: ActivityOrder,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Activity>, Error> {
    let [newest, oldest] = match (filter.agent_id, filter.task_id) {
        (_, Some(_)) => [&LIST_TASK_ACTIVITY_NEWEST, &LIST_TASK_ACTIVITY_OLDEST],
        (Some(_), None) => [&LIST_AGENT_ACTIVITY_NEWEST, &LIST_AGENT_ACTIVITY_OLDEST],
        (None, None) => [&LIST_ACTIVITY_NEWEST, &LIST_ACTIVITY_OLDEST],
    };
    let rows = tx
        .query(
            if order == ActivityOrder::Newest { newest } else { oldest },
            &[
                &filter.agent_id.map(|id| *id.as_uuid()),
                &filter.task_id.map(|id| *id.as_uuid()),
                &(!filter.actions.is_empty()).then_some(&filter.actions),
                &filter.since,
                &filter.until,
                &after.and_then(Place::time),
                &after.map(|place| place.id),
                &limit.probe(),
            ],
        )
        .await?;
    let entries = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(entries, limit, order, Activity::place))
}

fn refine(error: DbError, task: Option<Uuid>) -> Error {
    match (error.constraint(), task) {
        (Some("activity_logs_task_id_fkey"), Some(id)) => Error::UnknownTask { pointer: "/task_id", id },
        _ => error.into(),
    }
}

fn read(row: &Row) -> Result<Activity, Error> {
    let task: Option<Uuid> = column!(row, "task_id");
    Ok(Activity {
        id: ActivityId::from_uuid(column!(row, "id")),
        agent_id: AgentId::from_uuid(column!(row, "agent_id")),
        task_id: task.map(TaskId::from_uuid),
        action: column!(row, "action"),
        details: column!(row, "details"),
        timestamp: column!(row, "timestamp"),
    })
}
