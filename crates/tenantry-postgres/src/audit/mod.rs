//! The audit trail as chains of hashes: read, written out, and recomputed.
//!
//! Events are chained by a trigger in the database (`migrations/registry/0005_audit_chain.sql`), in the transaction of the change that
//! they tell of. Here the same hashes are computed once more, from nothing but the columns, so that a trail which somebody
//! with all rights has changed behind the trigger's back is found.
//!
//! A chain alone cannot say whether it was replaced as a whole, from the changed event to the head. An [`Anchor`] can: a
//! head that was written down elsewhere.

mod anchor;
mod export;
mod hash;
mod verify;

pub use anchor::{Anchor, AnchorError, ChainId};
pub use export::{ChainedEvent, ExportRange};
pub use verify::{Flaw, Verdict};

use futures_util::TryStreamExt as _;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, RowStream};

use crate::clients::{Clients, Lent, typed};
use crate::config::DatabaseConfig;
use crate::connect::Logins;
use crate::error::DbError;

/// The trail of a database, for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    clients: Clients,
}

impl AuditTrail {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(database: &DatabaseConfig) -> Self {
        Self { clients: Clients::new(database.clone(), Logins::CONTROL, 1) }
    }

    /// Every chain that there is, and every one that there should be: each tenant has one, since its creation is an event.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn chains(&self) -> Result<Vec<ChainId>, DbError> {
        let client = self.clients.get().await?;
        let sql = "SELECT chain FROM audit.chains UNION SELECT id FROM public.tenants \
                   UNION SELECT DISTINCT coalesce(tenant_id, '00000000-0000-0000-0000-000000000000') FROM audit.events ORDER BY 1";
        let rows = client.query_typed(sql, &[]).await?;
        client.give_back();
        Ok(rows.iter().map(|row| ChainId::from_uuid(row.get(0))).collect())
    }

    /// A connection in a transaction that sees one moment only, so that events and heads belong together.
    async fn snapshot(&self) -> Result<Lent, DbError> {
        let client = self.clients.get().await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0")
            .await?;
        Ok(client)
    }
}

/// Ends the transaction of [`AuditTrail::snapshot`].
async fn release(client: Lent) -> Result<(), DbError> {
    client.batch_execute("COMMIT").await?;
    client.give_back();
    Ok(())
}

/// The head of a chain, if it has one.
async fn head(client: &Lent, chain: ChainId) -> Result<Option<Anchor>, DbError> {
    let sql = "SELECT seq, hash FROM audit.chains WHERE chain = $1";
    let rows = client.query_typed(sql, &[typed(chain.as_uuid(), Type::UUID)]).await?;
    Ok(rows.first().map(|row| Anchor { chain, seq: row.get("seq"), hash: row.get("hash") }))
}

/// A chain's events in the chain's order, a few at a time. Without a tenant, `IS NULL` is what the index can answer.
async fn events(client: &Lent, chain: ChainId, range: ExportRange) -> Result<RowStream, DbError> {
    let of_chain =
        if chain.tenant().is_some() { "tenant_id = $1" } else { "tenant_id IS NULL AND $1::uuid IS NOT NULL" };
    let sql = format!(
        "SELECT seq, prev_hash, hash, id, tenant_id, at, (extract(epoch FROM at) * 1000000)::bigint AS micros, actor_kind, actor, \
                action, target, request_id, client_ip, details::text AS details \
         FROM audit.events WHERE {of_chain} AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3) \
         ORDER BY seq, id"
    );
    let params = [
        typed(chain.as_uuid(), Type::UUID),
        typed(&range.from, Type::TIMESTAMPTZ),
        typed(&range.to, Type::TIMESTAMPTZ),
    ];
    Ok(client.query_typed_raw(&sql, params).await?)
}

/// Reads a stream of events to its end, or until `each` has seen enough.
async fn walk(rows: RowStream, mut each: impl FnMut(&Row) -> bool) -> Result<(), DbError> {
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await? {
        if !each(&row) {
            break;
        }
    }
    Ok(())
}
