//! The table of tenants' data keys. What is in it is wrapped: this crate never sees a key.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use tenantry_core::TenantId;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::clients::{Clients, Typed, typed};
use crate::config::DatabaseConfig;
use crate::connect::Logins;
use crate::error::DbError;
use crate::provision::audit;
use crate::registry::{Actor, TenantContext};

const COLUMNS: &str = "tenant_id, version, wrapped_key, master_key_id, created_at, retired_at";

/// A data key as it is stored.
#[derive(Debug, Clone)]
pub struct StoredDataKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// Grows by one with every rotation of the tenant's key.
    pub version: i32,
    /// What the master key made of it.
    pub wrapped: Vec<u8>,
    /// The master key that can unwrap it.
    pub master_key_id: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when nothing new is sealed with it.
    pub retired_at: Option<DateTime<Utc>>,
}

/// How many data keys a master key wraps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MasterKeyUse {
    /// The master key.
    pub master_key_id: String,
    /// Data keys that it wraps.
    pub data_keys: i64,
    /// How many of them are retired.
    pub retired: i64,
}

/// The way to the table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataKeyStore {
    clients: Clients,
}

impl DataKeyStore {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(database: &DatabaseConfig) -> Self {
        Self { clients: Clients::new(database.clone(), Logins::CONTROL, 4) }
    }

    /// The key with which a tenant's secrets are sealed now, if it has one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn current(&self, context: &TenantContext) -> Result<Option<StoredDataKey>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM public.tenant_data_keys WHERE tenant_id = $1 AND retired_at IS NULL");
        self.one(&sql, &[typed(context.id().as_uuid(), Type::UUID)]).await
    }

    /// A tenant's key of a version, retired or not.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn version(&self, context: &TenantContext, version: i32) -> Result<Option<StoredDataKey>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM public.tenant_data_keys WHERE tenant_id = $1 AND version = $2");
        self.one(&sql, &[typed(context.id().as_uuid(), Type::UUID), typed(&version, Type::INT4)]).await
    }

    /// Makes a new key the tenant's current one, in the place of version `after` (0: it has none). When somebody else was
    /// faster nothing changes; either way [`current`](Self::current) then tells which key it is.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn succeed(
        &self,
        context: &TenantContext,
        after: i32,
        wrapped: &[u8],
        master_key_id: &str,
    ) -> Result<bool, DbError> {
        let tenant = *context.id().as_uuid();
        let client = self.clients.get().await?;
        client.batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '15s'").await?;
        let retired = client
            .execute_typed(
                "UPDATE public.tenant_data_keys SET retired_at = now() \
                 WHERE tenant_id = $1 AND version = $2 AND retired_at IS NULL",
                &[typed(&tenant, Type::UUID), typed(&after, Type::INT4)],
            )
            .await?;
        let added = if after == 0 || retired == 1 {
            insert(&client, tenant, after + 1, wrapped, master_key_id).await?
        } else {
            false
        };
        if added {
            let details = json!({ "version": after + 1, "master_key_id": master_key_id });
            let target = format!("data_key/{}", after + 1);
            audit(&client, Some(tenant), &context.actor(), "secrets.data_key", &target, details).await?;
            client.batch_execute("COMMIT").await?;
        } else {
            client.batch_execute("ROLLBACK").await?;
        }
        client.give_back();
        Ok(added)
    }

    /// Keys that another master key than this one wraps, in the order of tenant and version, after a place in it. For
    /// operators: it looks across tenants.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn not_wrapped_by(
        &self,
        master_key_id: &str,
        tenant: Option<TenantId>,
        after: Option<(TenantId, i32)>,
        limit: i64,
    ) -> Result<Vec<StoredDataKey>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM public.tenant_data_keys \
             WHERE master_key_id <> $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND (tenant_id, version) > ($3, $4) \
             ORDER BY tenant_id, version LIMIT $5"
        );
        let tenant = tenant.map(|tenant| *tenant.as_uuid());
        let (from, version) = after.map_or((Uuid::nil(), 0), |(tenant, version)| (*tenant.as_uuid(), version));
        let client = self.clients.get().await?;
        let params = [
            typed(&master_key_id, Type::TEXT),
            typed(&tenant, Type::UUID),
            typed(&from, Type::UUID),
            typed(&version, Type::INT4),
            typed(&limit, Type::INT8),
        ];
        let rows = client.query_typed(&sql, &params).await?;
        client.give_back();
        Ok(rows.iter().map(read).collect())
    }

    /// Replaces a key's wrapping by another of the same key. False when it is not what `old` says any more.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn rewrap(&self, old: &StoredDataKey, wrapped: &[u8], master_key_id: &str) -> Result<bool, DbError> {
        let client = self.clients.get().await?;
        let params = [
            typed(old.tenant.as_uuid(), Type::UUID),
            typed(&old.version, Type::INT4),
            typed(&old.wrapped, Type::BYTEA),
            typed(&wrapped, Type::BYTEA),
            typed(&master_key_id, Type::TEXT),
        ];
        let sql = "UPDATE public.tenant_data_keys SET wrapped_key = $4, master_key_id = $5 \
                   WHERE tenant_id = $1 AND version = $2 AND wrapped_key = $3";
        let changed = client.execute_typed(sql, &params).await?;
        client.give_back();
        Ok(changed == 1)
    }

    /// Which master keys are in use, and how much.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn master_keys(&self) -> Result<Vec<MasterKeyUse>, DbError> {
        let client = self.clients.get().await?;
        let sql =
            "SELECT master_key_id, count(*), count(retired_at) FROM public.tenant_data_keys GROUP BY 1 ORDER BY 1";
        let rows = client.query_typed(sql, &[]).await?;
        client.give_back();
        let uses = rows.iter().map(|row| MasterKeyUse {
            master_key_id: row.get(0),
            data_keys: row.get(1),
            retired: row.get(2),
        });
        Ok(uses.collect())
    }

    /// Notes a rotation in the audit trail.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn note_rotation(
        &self,
        actor: &Actor,
        tenant: Option<TenantId>,
        master_key_id: &str,
        rewrapped: u64,
        failed: u64,
    ) -> Result<(), DbError> {
        let client = self.clients.get().await?;
        let tenant = tenant.map(|tenant| *tenant.as_uuid());
        let details = json!({ "rewrapped": rewrapped, "failed": failed });
        audit(&client, tenant, actor, "secrets.master_key", &format!("master_key/{master_key_id}"), details).await?;
        client.give_back();
        Ok(())
    }

    async fn one(&self, sql: &str, params: &[Typed<'_>]) -> Result<Option<StoredDataKey>, DbError> {
        let once = async || {
            let client = self.clients.get().await?;
            let mut rows = client.query_typed(sql, params).await?;
            client.give_back();
            Ok::<_, DbError>(rows.pop())
        };
        let read_twice = async {
            match once().await {
                // The server may have closed a connection that lay idle, and a read can be repeated.
                Err(DbError::Unavailable(_)) => once().await,
                answer => answer,
            }
        };
        Ok(self.clients.in_time(read_twice).await?.as_ref().map(read))
    }
}

async fn insert(
    client: &Client,
    tenant: Uuid,
    version: i32,
    wrapped: &[u8],
    master_key_id: &str,
) -> Result<bool, DbError> {
    let params = [
        typed(&tenant, Type::UUID),
        typed(&version, Type::INT4),
        typed(&wrapped, Type::BYTEA),
        typed(&master_key_id, Type::TEXT),
    ];
    let sql = "INSERT INTO public.tenant_data_keys (tenant_id, version, wrapped_key, master_key_id) \
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    Ok(client.execute_typed(sql, &params).await? == 1)
}

fn read(row: &Row) -> StoredDataKey {
    StoredDataKey {
        tenant: TenantId::from_uuid(row.get("tenant_id")),
        version: row.get("version"),
        wrapped: row.get("wrapped_key"),
        master_key_id: row.get("master_key_id"),
        created_at: row.get("created_at"),
        retired_at: row.get("retired_at"),
    }
}
