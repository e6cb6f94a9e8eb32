//! Chains written out, event by event.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use tenantry_core::TenantId;
use tokio_postgres::Row;
use uuid::Uuid;

use super::anchor::{Anchor, ChainId, hex};
use super::{AuditTrail, events, head, release, walk};
use crate::error::DbError;

/// From when to when; open where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportRange {
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

/// One event with its place in its chain. The members are all that its hash is made of.
#[derive(Debug, Clone, Serialize)]
pub struct ChainedEvent {
    /// The tenant, or `None`.
    pub tenant_id: Option<TenantId>,
    /// Its number in the chain.
    pub seq: i64,
    /// The row's id.
    pub id: i64,
    /// When, in UTC with six digits of a second.
    pub at: String,
    /// The kind of actor.
    pub actor_kind: String,
    /// Who, within the kind.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// The request it was done in.
    pub request_id: Option<String>,
    /// The client's address.
    pub client_ip: Option<String>,
    /// What the action adds.
    pub details: Value,
    /// The same as the text that is hashed.
    pub details_text: String,
    /// The hash of the event before, in hexadecimal digits.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}

fn event(row: &Row) -> ChainedEvent {
    let at: DateTime<Utc> = row.get("at");
    let details_text: String = row.get("details");
    ChainedEvent {
        tenant_id: row.get::<_, Option<Uuid>>("tenant_id").map(TenantId::from_uuid),
        seq: row.get("seq"),
        id: row.get("id"),
        at: at.to_rfc3339_opts(SecondsFormat::Micros, true),
        actor_kind: row.get("actor_kind"),
        actor: row.get("actor"),
        action: row.get("action"),
        target: row.get("target"),
        request_id: row.get("request_id"),
        client_ip: row.get("client_ip"),
        // PostgreSQL's own text of a jsonb is JSON
        details: serde_json::from_str(&details_text).unwrap_or_default(),
        details_text,
        prev_hash: hex(row.get("prev_hash")),
        hash: hex(row.get("hash")),
    }
}

impl AuditTrail {
    /// Gives each event of a chain to `each`, in the chain's order and from one moment, and then the chain's head at that moment.
    /// `each` may say that it wants no more.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn export(
        &self,
        chain: ChainId,
        range: ExportRange,
        mut each: impl FnMut(&ChainedEvent) -> bool,
    ) -> Result<Option<Anchor>, DbError> {
        let client = self.snapshot().await?;
        let head = head(&client, chain).await?;
        let rows = events(&client, chain, range).await?;
        walk(rows, |row| each(&event(row))).await?;
        release(client).await?;
        Ok(head)
    }
}
