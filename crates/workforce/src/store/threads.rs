//! Threads: the table `messages`, seen from one agent and by whom it writes with. Drafts are in none: they go outside.

use serde_json::json;
use tenantry_http::Limit;
use tenantry_postgres::{TenantTx, ToSql, statements};
use uuid::Uuid;

use super::column;
use super::messages::{self, columns};
use crate::message::{Message, ReadThread, Thread, ThreadRead};
use crate::page::{List, Page, Position};
use crate::{AgentId, Error, Kind, Valid};

statements! {
    /// A page of an agent's threads. For each other agent the newest message is two probes of an index, however many
    /// messages there are; unread ones are counted for the rows of the page only.
    LIST_THREADS(UUID, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT t.*, (SELECT count(*) FROM tenant.messages u WHERE u.from_agent_id = t.with_agent_id \
                        AND u.to_agent_id = $1 AND u.status IN ('pending', 'delivered') AND NOT u.is_external_draft \
                        AND u.deleted_at IS NULL) AS unread \
         FROM (SELECT o.id AS with_agent_id, m.* FROM tenant.agents o CROSS JOIN LATERAL ( \
                 SELECT * FROM ((SELECT ", columns!(), " FROM tenant.messages WHERE from_agent_id = $1 AND to_agent_id = o.id \
                                   AND NOT is_external_draft AND deleted_at IS NULL \
                                 ORDER BY created_at DESC, id DESC LIMIT 1) \
                                UNION ALL \
                                (SELECT ", columns!(), " FROM tenant.messages WHERE from_agent_id = o.id AND to_agent_id = $1 \
                                   AND NOT is_external_draft AND deleted_at IS NULL \
                                 ORDER BY created_at DESC, id DESC LIMIT 1)) AS newest \
                 ORDER BY created_at DESC, id DESC LIMIT 1) AS m \
               WHERE (m.created_at, m.id) < (COALESCE($2, 'infinity'::timestamptz), \
                                      COALESCE($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
               ORDER BY m.created_at DESC, m.id DESC LIMIT $4) AS t \
         ORDER BY t.created_at DESC, t.id DESC"
    );
    /// A page of one thread: two ranges of an index, merged; only one where an agent has written to itself.
    READ_THREAD(UUID, UUID, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT * FROM ((SELECT ", columns!(), " FROM tenant.messages WHERE from_agent_id = $1 AND to_agent_id = $2 \
                           AND NOT is_external_draft AND deleted_at IS NULL \
                           AND (created_at, id) < (COALESCE($3, 'infinity'::timestamptz), \
                                                   COALESCE($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
                         ORDER BY created_at DESC, id DESC LIMIT $5) \
                        UNION ALL \
                        (SELECT ", columns!(), " FROM tenant.messages WHERE from_agent_id = $2 AND to_agent_id = $1 \
                           AND $1 <> $2 AND NOT is_external_draft AND deleted_at IS NULL \
                           AND (created_at, id) < (COALESCE($3, 'infinity'::timestamptz), \
                                                   COALESCE($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
                         ORDER BY created_at DESC, id DESC LIMIT $5)) AS both_ways \
         ORDER BY created_at DESC, id DESC LIMIT $5"
    );
    /// Which of two agents there are, deleted ones included: what they wrote stays.
    KNOWN_AGENTS(UUID, UUID) = "SELECT id FROM tenant.agents WHERE id IN ($1, $2)";
    /// Where in a thread a live message stands.
    PLACE_IN_THREAD(UUID, UUID, UUID) =
        "SELECT created_at FROM tenant.messages WHERE id = $3 AND NOT is_external_draft AND deleted_at IS NULL \
           AND (from_agent_id = $1 AND to_agent_id = $2 OR from_agent_id = $2 AND to_agent_id = $1)";
    /// Marks what the one got from the other, up to a place.
    MARK_THREAD_READ(UUID, UUID, TIMESTAMPTZ, UUID) =
        "UPDATE tenant.messages SET status = 'read', read_at = now(), version = version + 1 \
         WHERE from_agent_id = $2 AND to_agent_id = $1 AND status IN ('pending', 'delivered') \
           AND NOT is_external_draft AND deleted_at IS NULL AND (created_at, id) <= ($3, $4)";
}

/// A page of an agent's threads, the one written to last first; one statement. An agent that is not there has none.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    agent: AgentId,
    after: Option<Position>,
    limit: Limit,
) -> Result<Page<Thread>, Error> {
    let params: [&(dyn ToSql + Sync); 4] =
        [agent.as_uuid(), &after.map(|p| p.created_at), &after.map(|p| p.id), &limit.probe()];
    let rows = tx.query(&LIST_THREADS, &params).await?;
    let mut threads = Vec::with_capacity(rows.len());
    for row in &rows {
        threads.push(Thread {
            with_agent_id: AgentId::from_uuid(column!(row, "with_agent_id")),
            unread: column!(row, "unread"),
            last_message: messages::read(row)?,
        });
    }
    Ok(Page::cut(threads, limit, List::Threads, |thread| messages::position(&thread.last_message)))
}

/// A page of what two agents wrote to each other, newest first.
///
/// # Errors
/// [`Error::NotFound`] for an agent that never was.
pub async fn read(
    tx: &mut TenantTx,
    agent: AgentId,
    other: AgentId,
    after: Option<Position>,
    limit: Limit,
) -> Result<Page<Message>, Error> {
    let params: [&(dyn ToSql + Sync); 5] =
        [agent.as_uuid(), other.as_uuid(), &after.map(|p| p.created_at), &after.map(|p| p.id), &limit.probe()];
    let rows = tx.query(&READ_THREAD, &params).await?;
    if rows.is_empty() {
        must_be_known(tx, agent, other).await?;
    }
    let found = rows.iter().map(messages::read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(found, limit, List::Thread, messages::position))
}

/// Marks what an agent got from another as read, up to a message of the thread. What was read before keeps its time.
///
/// # Errors
/// [`Error::NotFound`] for an agent that never was, [`Error::UnknownMessage`] for a message that is not of the thread.
pub async fn mark_read(
    tx: &mut TenantTx,
    agent: AgentId,
    other: AgentId,
    mark: &Valid<ReadThread>,
) -> Result<ThreadRead, Error> {
    let up_to = *mark.up_to.as_uuid();
    let Some(row) = tx.query_opt(&PLACE_IN_THREAD, &[agent.as_uuid(), other.as_uuid(), &up_to]).await? else {
        must_be_known(tx, agent, other).await?;
        return Err(Error::UnknownMessage { pointer: "/up_to", id: up_to });
    };
    let at: chrono::DateTime<chrono::Utc> = column!(row, "created_at");
    let read = tx.execute(&MARK_THREAD_READ, &[agent.as_uuid(), other.as_uuid(), &at, &up_to]).await?;
    if read > 0 {
        let details = json!({ "agent_id": agent, "with_agent_id": other, "up_to": up_to, "read": read });
        tx.audit("message.read_thread", &format!("thread/{agent}/{other}"), details.clone());
        tx.publish("message.thread_read", details);
    }
    Ok(ThreadRead { read })
}

async fn must_be_known(tx: &mut TenantTx, agent: AgentId, other: AgentId) -> Result<(), Error> {
    let rows = tx.query(&KNOWN_AGENTS, &[agent.as_uuid(), other.as_uuid()]).await?;
    let mut known: Vec<Uuid> = Vec::with_capacity(rows.len());
    for row in &rows {
        known.push(column!(row, "id"));
    }
    match [agent, other].iter().find(|id| !known.contains(id.as_uuid())) {
        Some(id) => Err(Error::NotFound { kind: Kind::Agent, id: *id.as_uuid() }),
        None => Ok(()),
    }
}
