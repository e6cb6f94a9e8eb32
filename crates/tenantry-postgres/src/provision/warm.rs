use std::time::Duration;

use futures_util::future::join4;
use serde::Serialize;
use tenantry_core::{RoleName, SchemaName, TenantId};
use tokio_postgres::types::Type;

use super::Provisioner;
use super::create::BEGIN;
use crate::clients::typed;
use crate::connect::Logins;
use crate::error::{DbError, ProvisionError};

/// Held while a warm schema is made: two servers that refill do not make more than is wanted.
const WARM_LOCK: i64 = 7_468_657_466;
/// How often the number of warm schemas is looked at when no creation asks for it.
const LOOK: Duration = Duration::from_secs(5);
/// How long to wait after a refill that failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The schemas that wait for tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WarmStatus {
    /// Those that this program's `create` takes.
    pub ready: i64,
    /// Those of an older version, which it does not take.
    pub behind: i64,
    /// The version that new tenants get.
    pub version: i32,
}

/// What a refill did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Refilled {
    /// Made now.
    pub made: usize,
    /// Removed now, because they were of an older version.
    pub removed: usize,
}

impl Provisioner {
    /// How many schemas wait for tenants.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn warm_status(&self) -> Result<WarmStatus, ProvisionError> {
        let client = self.control.get().await?;
        let sql = "SELECT count(*) FILTER (WHERE schema_version >= $1), count(*) FILTER (WHERE schema_version < $1) \
                   FROM public.warm_schemas";
        let rows = client.query_typed(sql, &[typed(&self.schema.version, Type::INT4)]).await?;
        client.give_back();
        let row = rows.first().ok_or(DbError::Misuse("a statement for one row gave none"))?;
        Ok(WarmStatus { ready: row.get(0), behind: row.get(1), version: self.schema.version })
    }

    /// Makes warm schemas until `target` are ready, one transaction each and `pause` after each, and removes those of an
    /// older version than this program's. However many do this at once, there are never more than the largest target.
    ///
    /// # Errors
    /// [`ProvisionError::NotRenamable`] for a domain whose functions or defaults hold their schema's name, [`ProvisionError::Database`].
    pub async fn refill(&self, target: usize, pause: Duration) -> Result<Refilled, ProvisionError> {
        let mut done = Refilled::default();
        let target = i64::try_from(target).unwrap_or(i64::MAX);
        while self.make_warm(target).await? {
            done.made += 1;
            tokio::time::sleep(pause).await;
        }
        while self.remove_warm("schema_version < $1").await? {
            done.removed += 1;
            tokio::time::sleep(pause).await;
        }
        Ok(done)
    }

    /// Replaces the warm schemas of an older version by as many of this program's; for after a migration of the fleet.
    ///
    /// # Errors
    /// As [`refill`](Self::refill).
    pub async fn renew_warm(&self) -> Result<Refilled, ProvisionError> {
        let status = self.warm_status().await?;
        if status.behind == 0 {
            return Ok(Refilled::default());
        }
        self.refill(usize::try_from(status.ready + status.behind).unwrap_or(usize::MAX), Duration::ZERO).await
    }

    /// Removes warm schemas, the newest first, until `target` are left. Gives how many it removed.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn reduce(&self, target: usize) -> Result<usize, ProvisionError> {
        let condition = format!("$1 IS NOT NULL AND (SELECT count(*) FROM public.warm_schemas) > {target}");
        let mut removed = 0;
        while self.remove_warm(&condition).await? {
            removed += 1;
        }
        Ok(removed)
    }

    /// Keeps `target` schemas warm for as long as it is polled: it looks after each creation of this process, and now and then.
    pub async fn keep_warm(&self, target: usize, pause: Duration) {
        loop {
            let wait = match self.refill(target, pause).await {
                Ok(Refilled { made: 0, removed: 0 }) => LOOK,
                Ok(Refilled { made, removed }) => {
                    tracing::debug!(target: "tenantry::warm", made, removed, "warm schemas refilled");
                    LOOK
                }
                Err(error) => {
                    tracing::warn!(target: "tenantry::warm", %error, "warm schemas cannot be made; tenants are created without");
                    tokio::time::sleep(PATIENCE).await;
                    continue;
                }
            };
            // Whichever comes first.
            let _ = tokio::time::timeout(wait, self.wanted.notified()).await;
        }
    }

    /// Makes one schema with its role and its place, unless enough are ready.
    async fn make_warm(&self, target: i64) -> Result<bool, ProvisionError> {
        let id = TenantId::generate();
        let role = RoleName::for_tenant(id);
        let warm = SchemaName::warm(id);
        // Made under another name and renamed once, which proves that a claim can rename it.
        let first = SchemaName::from_registry(&format!("tenant__new_{}", id.as_uuid().simple()))?;
        let (role_name, old_name, new_name) = (role.as_str(), first.as_str(), warm.as_str());
        let client = self.migrator.get().await?;
        let begin = format!("{BEGIN}; SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock({WARM_LOCK})");
        // A statement of its own, so that it sees what was done while the lock was waited for.
        let count = "SELECT count(*) FROM public.warm_schemas WHERE schema_version >= $1";
        let version = [typed(&self.schema.version, Type::INT4)];
        let (begun, ready) =
            futures_util::future::join(client.batch_execute(&begin), client.query_typed(count, &version)).await;
        begun?;
        if ready?.first().is_none_or(|row| row.get::<_, i64>(0) >= target) {
            client.batch_execute("ROLLBACK").await?;
            client.give_back();
            return Ok(false);
        }
        let ddl = format!(
            "SET LOCAL lock_timeout = '5s'; CREATE ROLE {} NOLOGIN; {}",
            role.quoted(),
            self.schema_ddl(&first, &role)
        );
        let rename = format!("ALTER SCHEMA {} RENAME TO {}", first.quoted(), warm.quoted());
        let settle = "SELECT login, made FROM tenantry.settle_warm($1, $2, $3, $4)";
        let settled = [
            typed(id.as_uuid(), Type::UUID),
            typed(&role_name, Type::TEXT),
            typed(&self.cell_capacity, Type::INT4),
            typed(&self.schema.version, Type::INT4),
        ];
        let names = [typed(&new_name, Type::TEXT), typed(&old_name, Type::TEXT)];
        let remembers =
            "SELECT tenantry.remembers_name(n.oid, $2) FROM pg_catalog.pg_namespace n WHERE n.nspname = $1 LIMIT 1";
        let (made, renamed, remembered, settled) = join4(
            client.batch_execute(&ddl),
            client.batch_execute(&rename),
            client.query_typed(remembers, &names),
            client.query_typed(settle, &settled),
        )
        .await;
        made?;
        renamed?;
        if let Some(row) = remembered?.first() {
            return Err(ProvisionError::NotRenamable(row.get(0)));
        }
        let rows = settled?;
        let settled = rows.first().ok_or(DbError::Misuse("a warm schema was not placed"))?;
        let rest = match settled.get("made") {
            true => self.new_cell_ddl(settled.get("login"), &role) + "; ",
            false => String::new(),
        };
        client.batch_execute(&format!("{rest}COMMIT")).await?;
        client.give_back();
        Ok(true)
    }

    /// Removes one warm schema for which a condition holds, with `$1` this program's version. One that is being claimed or migrated is left alone.
    async fn remove_warm(&self, condition: &str) -> Result<bool, ProvisionError> {
        let client = self.migrator.get().await?;
        let begin = format!("{BEGIN}; SELECT pg_advisory_xact_lock({WARM_LOCK})");
        let take = format!(
            "DELETE FROM public.warm_schemas WHERE id = (SELECT id FROM public.warm_schemas WHERE {condition} \
             ORDER BY created_at DESC, id DESC LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING schema_name, role_name, cell_id"
        );
        let version = [typed(&self.schema.version, Type::INT4)];
        let (begun, taken) =
            futures_util::future::join(client.batch_execute(&begin), client.query_typed(&take, &version)).await;
        begun?;
        let taken = taken?;
        let Some(row) = taken.first() else {
            client.batch_execute("ROLLBACK").await?;
            client.give_back();
            return Ok(false);
        };
        let schema = SchemaName::from_registry(row.get("schema_name"))?;
        client
            .batch_execute(&format!(
                "SET LOCAL ROLE {owner}; DROP SCHEMA {schema} CASCADE; RESET ROLE; \
                 UPDATE public.cells SET tenants = tenants - 1 WHERE id = {cell}; DROP ROLE {role}; COMMIT",
                owner = Logins::OWNER,
                schema = schema.quoted(),
                cell = row.get::<_, i32>("cell_id"),
                role = tenantry_core::quote_identifier(row.get("role_name")),
            ))
            .await?;
        client.give_back();
        Ok(true)
    }
}
