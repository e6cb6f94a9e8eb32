//! The table `messages`.

use chrono::{DateTime, Utc};
use serde_json::json;
use tenantry_http::Limit;
use tenantry_postgres::{Row, TenantTx, ToSql, statements};
use uuid::Uuid;

use super::{agents, column, earliest_first, latest_first, words};
use crate::message::{
    Broadcast, CreateBroadcast, CreateMessage, Message, MessageFilter, MessageOrder, MessageType, UpdateMessage,
};
use crate::page::{Page, Position};
use crate::{AgentId, Error, Kind, MessageId, MessageStatus, Place, UnknownWord, Valid};

macro_rules! columns {
    () => {
        "id, from_agent_id, to_agent_id, subject, body, type, status, is_external_draft, external_recipient, \
         approved_by, approved_at, broadcast_id, version, created_at, read_at, deleted_at"
    };
}
pub(super) use columns;

/// The conditions that all lists share.
macro_rules! list {
    ($whose:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM tenant.messages WHERE ",
            $whose,
            " AND ($3::uuid IS NULL OR from_agent_id = $3) \
              AND ($4::uuid IS NULL OR to_agent_id = $4) \
              AND ($5::text[] IS NULL OR type = ANY ($5)) \
              AND ($6::text[] IS NULL OR status = ANY ($6)) \
              AND CASE WHEN $7::bool THEN status IN ('pending', 'delivered') AND NOT is_external_draft \
                       WHEN NOT $7 THEN status = 'read' ELSE true END \
              AND ($8::timestamptz IS NULL OR created_at >= $8) \
              AND ($9::timestamptz IS NULL OR created_at < $9) \
              AND ($10::uuid IS NULL OR broadcast_id = $10) \
              AND ($11 OR deleted_at IS NULL)"
        )
    };
}

/// Of whomever. The parameters are named all the same, so that all lists have the same.
macro_rules! all {
    () => {
        list!("$1::uuid IS NULL AND $2::uuid IS NULL")
    };
}

/// What one agent wrote or got.
macro_rules! of_one {
    () => {
        list!("(from_agent_id = $1 OR to_agent_id = $1) AND $2::uuid IS NULL")
    };
}

/// What two agents wrote to each other.
macro_rules! of_two {
    () => {
        list!("(from_agent_id = $1 AND to_agent_id = $2 OR from_agent_id = $2 AND to_agent_id = $1)")
    };
}

statements! {
    /// One message by id; deleted ones only when asked for.
    FIND_MESSAGE(UUID, BOOL) = concat!(
        "SELECT ", columns!(), " FROM tenant.messages WHERE id = $1 AND ($2 OR deleted_at IS NULL)"
    );
    /// A live message, held against other changes, with the database's clock.
    LOCK_MESSAGE(UUID) = concat!(
        "SELECT ", columns!(), ", now() AS clock FROM tenant.messages WHERE id = $1 AND deleted_at IS NULL \
         FOR NO KEY UPDATE"
    );
    /// A page of all messages, the newest first.
    LIST_MESSAGES_NEWEST(UUID, UUID, UUID, UUID, TEXT_ARRAY, TEXT_ARRAY, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(all!(), latest_first!("created_at", "$12", "$13", "$14"));
    /// A page of all messages, the oldest first.
    LIST_MESSAGES_OLDEST(UUID, UUID, UUID, UUID, TEXT_ARRAY, TEXT_ARRAY, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(all!(), earliest_first!("created_at", "$12", "$13", "$14"));
    /// A page of one agent's messages: a statement of its own, so that its plan can always use the indexes by agent.
    LIST_AGENT_MESSAGES_NEWEST(UUID, UUID, UUID, UUID, TEXT_ARRAY, TEXT_ARRAY, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(of_one!(), latest_first!("created_at", "$12", "$13", "$14"));
    /// A page of one agent's messages, the oldest first.
    LIST_AGENT_MESSAGES_OLDEST(UUID, UUID, UUID, UUID, TEXT_ARRAY, TEXT_ARRAY, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(of_one!(), earliest_first!("created_at", "$12", "$13", "$14"));
    /// A page of two agents' messages, the newest first.
    LIST_PAIR_MESSAGES_NEWEST(UUID, UUID, UUID, UUID, TEXT_ARRAY, TEXT_ARRAY, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(of_two!(), latest_first!("created_at", "$12", "$13", "$14"));
    /// A page of two agents' messages, the oldest first.
    LIST_PAIR_MESSAGES_OLDEST(UUID, UUID, UUID, UUID, TEXT_ARRAY, TEXT_ARRAY, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, UUID, BOOL, TIMESTAMPTZ, UUID, INT8) =
        concat!(of_two!(), earliest_first!("created_at", "$12", "$13", "$14"));
    /// A new message, pending.
    INSERT_MESSAGE(UUID, UUID, UUID, TEXT, TEXT, TEXT, BOOL, TEXT) = concat!(
        "INSERT INTO tenant.messages (id, from_agent_id, to_agent_id, subject, body, type, is_external_draft, \
                                      external_recipient) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ", columns!()
    );
    /// A message to each live agent but the writer. An agent that comes after it gets none.
    INSERT_BROADCAST(UUID, UUID, TEXT, TEXT) =
        "INSERT INTO tenant.messages (from_agent_id, to_agent_id, subject, body, type, broadcast_id) \
         SELECT $1::uuid, id, $3::text, $4::text, 'broadcast', $2::uuid FROM tenant.agents WHERE deleted_at IS NULL AND id <> $1";
    /// Changes what is not NULL of a draft that nobody has decided on: the condition stands here as well as in the code, so
    /// that no way leads from an approval to another text.
    UPDATE_DRAFT(UUID, INT8, TEXT, TEXT, TEXT) = concat!(
        "UPDATE tenant.messages SET subject = COALESCE($3, subject), body = COALESCE($4, body), \
           external_recipient = COALESCE($5, external_recipient), version = version + 1 \
         WHERE id = $1 AND version = $2 AND is_external_draft AND status = 'pending' AND deleted_at IS NULL \
         RETURNING ", columns!()
    );
    /// Writes a step that the machine allowed.
    STEP_MESSAGE(UUID, INT8, TEXT, TIMESTAMPTZ, TEXT, TIMESTAMPTZ) = concat!(
        "UPDATE tenant.messages SET status = $3, read_at = $4, approved_by = $5, approved_at = $6, version = version + 1 \
         WHERE id = $1 AND version = $2 RETURNING ", columns!()
    );
    /// Soft deletion; the version is checked where one is given.
    DELETE_MESSAGE(UUID, INT8) =
        "UPDATE tenant.messages SET deleted_at = now(), version = version + 1 \
         WHERE id = $1 AND ($2::int8 IS NULL OR version = $2) AND deleted_at IS NULL \
         RETURNING version, from_agent_id, to_agent_id";
}

/// Writes a message, pending, between live agents.
///
/// # Errors
/// [`Error::UnknownAgent`].
pub async fn create(tx: &mut TenantTx, new: &Valid<CreateMessage>) -> Result<Message, Error> {
    let id = MessageId::generate();
    let (from, to, kind) = (new.from_agent_id, new.recipient(), new.kind());
    agents::hold_live(tx, ("/from_agent_id", from), ("/to_agent_id", to)).await?;
    let row = tx
        .query_one(
            &INSERT_MESSAGE,
            &[
                id.as_uuid(),
                from.as_uuid(),
                to.as_uuid(),
                &new.subject,
                &new.body,
                &kind.as_str(),
                &(kind == MessageType::ExternalDraft),
                &new.external_recipient,
            ],
        )
        .await?;
    let message = read(&row)?;
    tx.audit("message.create", &target(id), json!({ "from_agent_id": from, "to_agent_id": to, "type": kind }));
    tx.publish("message.created", json!(message));
    Ok(message)
}

/// Writes to all live agents but the writer.
///
/// # Errors
/// [`Error::UnknownAgent`].
pub async fn broadcast(tx: &mut TenantTx, new: &Valid<CreateBroadcast>) -> Result<Broadcast, Error> {
    let broadcast_id = Uuid::now_v7();
    let from = new.from_agent_id;
    let named = ("/from_agent_id", from);
    agents::hold_live(tx, named, named).await?;
    let recipients = tx.execute(&INSERT_BROADCAST, &[from.as_uuid(), &broadcast_id, &new.subject, &new.body]).await?;
    let broadcast = Broadcast { broadcast_id, from_agent_id: from, subject: new.subject.clone(), recipients };
    let details = json!({ "from_agent_id": from, "recipients": recipients });
    tx.audit("message.broadcast", &format!("broadcast/{broadcast_id}"), details);
    tx.publish("message.broadcast", json!(broadcast));
    Ok(broadcast)
}

/// Finds a message; one statement.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tx: &mut TenantTx, id: MessageId, include_deleted: bool) -> Result<Message, Error> {
    let row = tx.query_opt(&FIND_MESSAGE, &[id.as_uuid(), &include_deleted]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of messages; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &MessageFilter,
    order: MessageOrder,
    after: Option<&Place>,
    limit: Limit,
) -> Result<Page<Message>, Error> {
    let [newest, oldest] = match (filter.agent_id, filter.with_agent_id) {
        (Some(_), Some(_)) => [&LIST_PAIR_MESSAGES_NEWEST, &LIST_PAIR_MESSAGES_OLDEST],
        (Some(_), None) => [&LIST_AGENT_MESSAGES_NEWEST, &LIST_AGENT_MESSAGES_OLDEST],
        (None, _) => [&LIST_MESSAGES_NEWEST, &LIST_MESSAGES_OLDEST],
    };
    let uuid = |id: Option<AgentId>| id.map(|id| *id.as_uuid());
    let rows = tx
        .query(
            if order == MessageOrder::Newest { newest } else { oldest },
            &[
                &uuid(filter.agent_id),
                &uuid(filter.with_agent_id),
                &uuid(filter.from_agent_id),
                &uuid(filter.to_agent_id),
                &words(&filter.types, MessageType::as_str),
                &words(&filter.statuses, MessageStatus::as_str),
                &filter.unread,
                &filter.since,
                &filter.until,
                &filter.broadcast_id,
                &filter.include_deleted,
                &after.and_then(Place::time),
                &after.map(|place| place.id),
                &limit.probe(),
            ],
        )
        .await?;
    let messages = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::sorted(messages, limit, order, Message::place))
}

/// Changes a draft that still has the version `expected` and waits for its approval.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`Error::MessageSealed`].
pub async fn update(
    tx: &mut TenantTx,
    id: MessageId,
    expected: i64,
    change: &Valid<UpdateMessage>,
) -> Result<Message, Error> {
    let (before, _) = lock(tx, id).await?;
    if before.version != expected {
        return Err(conflict(expected, before));
    }
    if !before.is_editable() {
        return Err(Error::MessageSealed { status: before.status, draft: before.is_external_draft });
    }
    let subject = match &change.subject {
        crate::Patch::Clear => Some(String::new()),
        other => other.value().cloned(),
    };
    let params: [&(dyn ToSql + Sync); 5] =
        [id.as_uuid(), &expected, &subject, &change.body.value(), &change.external_recipient.value()];
    let after = read(&tx.query_one(&UPDATE_DRAFT, &params).await?)?;
    tx.audit("message.update", &target(id), json!({ "version": after.version, "changed": change.named() }));
    tx.publish("message.updated", json!(after));
    Ok(after)
}

/// One step of the machine. A repeated delivery or reading changes nothing; a draft is decided on once.
///
/// Who decides is the transaction's principal, not a parameter. With `expected` the message must still have that version:
/// whoever approves a text approves the one that was read.
///
/// # Errors
/// [`Error::NotFound`], [`Error::VersionConflict`], [`Error::DraftDecided`], [`Error::NotADraft`],
/// [`Error::IllegalMessageStep`].
pub async fn step(
    tx: &mut TenantTx,
    id: MessageId,
    expected: Option<i64>,
    next: MessageStatus,
) -> Result<Message, Error> {
    let (before, now) = lock(tx, id).await?;
    if next.is_decision() {
        if !before.is_external_draft {
            return Err(Error::NotADraft { kind: before.kind });
        }
        if before.status.is_decision() {
            return Err(Error::DraftDecided { status: before.status, current: Box::new(json!(before)) });
        }
    }
    if let Some(expected) = expected.filter(|expected| *expected != before.version) {
        return Err(conflict(expected, before));
    }
    if before.status == next {
        return Ok(before);
    }
    let allowed = before.allowed_next();
    if !allowed.contains(&next) {
        return Err(Error::IllegalMessageStep { from: before.status, to: next, allowed });
    }
    let read_at = if next == MessageStatus::Read { Some(now) } else { before.read_at };
    // A rejection leaves both NULL: whoever sends what has an `approved_at` must not find it there.
    let approved = (next == MessageStatus::Approved).then(|| (tx.context().principal().subject().to_owned(), now));
    let (approved_by, approved_at) = approved.unzip();
    let params: [&(dyn ToSql + Sync); 6] =
        [id.as_uuid(), &before.version, &next.as_str(), &read_at, &approved_by, &approved_at];
    let after = read(&tx.query_one(&STEP_MESSAGE, &params).await?)?;
    tx.audit(action(next), &target(id), json!({ "version": after.version, "from": before.status, "to": after.status }));
    tx.publish("message.updated", json!(after));
    Ok(after)
}

/// Marks a message deleted.
///
/// # Errors
/// [`Error::NotFound`]; with `expected` also [`Error::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, id: MessageId, expected: Option<i64>) -> Result<(), Error> {
    let Some(row) = tx.query_opt(&DELETE_MESSAGE, &[id.as_uuid(), &expected]).await? else {
        let message = find(tx, id, false).await?;
        return Err(expected.map_or_else(|| not_found(id), |expected| conflict(expected, message)));
    };
    let version: i64 = column!(row, "version");
    let (from, to): (Uuid, Uuid) = (column!(row, "from_agent_id"), column!(row, "to_agent_id"));
    tx.audit("message.delete", &target(id), json!({ "version": version }));
    tx.publish("message.deleted", json!({ "id": id, "version": version, "from_agent_id": from, "to_agent_id": to }));
    Ok(())
}

async fn lock(tx: &mut TenantTx, id: MessageId) -> Result<(Message, DateTime<Utc>), Error> {
    let row = tx.query_opt(&LOCK_MESSAGE, &[id.as_uuid()]).await?.ok_or_else(|| not_found(id))?;
    let now: DateTime<Utc> = column!(row, "clock");
    Ok((read(&row)?, now))
}

const fn action(next: MessageStatus) -> &'static str {
    match next {
        MessageStatus::Delivered => "message.deliver",
        MessageStatus::Approved => "message.approve",
        MessageStatus::Rejected => "message.reject",
        MessageStatus::Read | MessageStatus::Pending => "message.read",
    }
}

pub(super) fn position(message: &Message) -> Position {
    Position { created_at: message.created_at, id: *message.id.as_uuid() }
}

fn conflict(expected: i64, current: Message) -> Error {
    Error::VersionConflict { kind: Kind::Message, expected, actual: current.version, current: Box::new(json!(current)) }
}

fn not_found(id: MessageId) -> Error {
    Error::NotFound { kind: Kind::Message, id: *id.as_uuid() }
}

fn target(id: MessageId) -> String {
    format!("message/{id}")
}

pub(super) fn read(row: &Row) -> Result<Message, Error> {
    let id: Uuid = column!(row, "id");
    let corrupt =
        |column| move |e: UnknownWord| Error::Corrupt { kind: Kind::Message, id, column, reason: e.to_string() };
    let kind: &str = column!(row, "type");
    let status: &str = column!(row, "status");
    Ok(Message {
        id: MessageId::from_uuid(id),
        from_agent_id: AgentId::from_uuid(column!(row, "from_agent_id")),
        to_agent_id: AgentId::from_uuid(column!(row, "to_agent_id")),
        subject: column!(row, "subject"),
        body: column!(row, "body"),
        kind: kind.parse().map_err(corrupt("type"))?,
        status: status.parse().map_err(corrupt("status"))?,
        is_external_draft: column!(row, "is_external_draft"),
        external_recipient: column!(row, "external_recipient"),
        approved_by: column!(row, "approved_by"),
        approved_at: column!(row, "approved_at"),
        broadcast_id: column!(row, "broadcast_id"),
        version: column!(row, "version"),
        created_at: column!(row, "created_at"),
        read_at: column!(row, "read_at"),
        deleted_at: column!(row, "deleted_at"),
    })
}
