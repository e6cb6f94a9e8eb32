use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tenantry_core::{ApiKeyId, Generation, OperatorRole, Role, SchemaName, Slug, TenantId, TokenHash};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::context::{Limits, Tenant};
use super::settings;
use crate::CellId;
use crate::clients::{Clients, Typed, typed};
use crate::error::DbError;

const TENANT: &str = "SELECT t.id, t.slug, t.schema_name, t.status, t.plan_tier, t.allowed_domains, t.created_at, \
        t.time_zone, t.display_currency, \
        p.requests_per_minute, coalesce(t.max_agents, p.max_agents) AS max_agents, p.max_concurrent_tasks, \
        coalesce(t.max_tasks_per_month, p.max_tasks_per_month) AS max_tasks_per_month, \
        coalesce(t.storage_limit_gb, p.storage_limit_gb) AS storage_limit_gb, \
        pl.cell_id, pl.generation, pl.schema_version, pl.statement_timeout_ms, pl.lock_timeout_ms, \
        c.login_role, c.dedicated \
    FROM public.tenants t \
    JOIN public.plans p ON p.tier = t.plan_tier \
    JOIN public.tenant_placements pl ON pl.tenant_id = t.id \
    JOIN public.cells c ON c.id = pl.cell_id \
    WHERE t.id = $1";

/// A stored API key.
#[derive(Debug)]
pub(super) struct KeyRow {
    pub(super) id: ApiKeyId,
    pub(super) tenant: TenantId,
    pub(super) name: String,
    pub(super) hash: TokenHash,
    pub(super) scopes: Vec<String>,
    life: Life,
}

/// A stored operator's token.
#[derive(Debug)]
pub(super) struct OperatorRow {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) role: OperatorRole,
    pub(super) hash: TokenHash,
    life: Life,
}

#[derive(Debug)]
struct Life {
    expires_at: Option<DateTime<Utc>>,
    revoked: bool,
}

impl Life {
    fn valid_at(&self, now: DateTime<Utc>) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| now < end)
    }
}

impl KeyRow {
    pub(super) fn valid_at(&self, now: DateTime<Utc>) -> bool {
        self.life.valid_at(now)
    }
}

impl OperatorRow {
    pub(super) fn valid_at(&self, now: DateTime<Utc>) -> bool {
        self.life.valid_at(now)
    }
}

async fn one(clients: &Clients, sql: &str, param: Typed<'_>) -> Result<Option<Row>, DbError> {
    read(clients, sql, &[param]).await
}

async fn read(clients: &Clients, sql: &str, params: &[Typed<'_>]) -> Result<Option<Row>, DbError> {
    let read = async {
        match once(clients, sql, params).await {
            // The server may have closed a connection that lay idle, and a read can be repeated.
            Err(DbError::Unavailable(_)) => once(clients, sql, params).await,
            answer => answer,
        }
    };
    clients.in_time(read).await
}

async fn once(clients: &Clients, sql: &str, params: &[Typed<'_>]) -> Result<Option<Row>, DbError> {
    let client = clients.get().await?;
    let mut rows = client.query_typed(sql, params).await?;
    client.give_back();
    Ok(rows.pop())
}

pub(super) async fn tenant_by_id(clients: &Clients, id: TenantId) -> Result<Option<Arc<Tenant>>, DbError> {
    let row = one(clients, TENANT, typed(id.as_uuid(), Type::UUID)).await?;
    row.as_ref().map(tenant).transpose()
}

pub(super) async fn id_by_slug(clients: &Clients, slug: &Slug) -> Result<Option<TenantId>, DbError> {
    let row = one(clients, "SELECT id FROM public.tenants WHERE slug = $1", typed(&slug.as_str(), Type::TEXT)).await?;
    Ok(row.map(|r| TenantId::from_uuid(r.get(0))))
}

pub(super) async fn id_by_domain(clients: &Clients, host: &str) -> Result<Option<TenantId>, DbError> {
    let row =
        one(clients, "SELECT tenant_id FROM public.tenant_domains WHERE domain = $1", typed(&host, Type::TEXT)).await?;
    Ok(row.map(|r| TenantId::from_uuid(r.get(0))))
}

pub(super) async fn key(clients: &Clients, lookup: &str) -> Result<Option<Arc<KeyRow>>, DbError> {
    let sql = "SELECT id, tenant_id, name, hash, scopes, expires_at, revoked_at IS NOT NULL AS revoked \
               FROM public.tenant_api_keys WHERE lookup = $1";
    let Some(row) = one(clients, sql, typed(&lookup, Type::TEXT)).await? else { return Ok(None) };
    Ok(Some(Arc::new(KeyRow {
        id: ApiKeyId::from_uuid(row.get("id")),
        tenant: TenantId::from_uuid(row.get("tenant_id")),
        name: row.get("name"),
        hash: stored_hash(&row)?,
        scopes: row.get("scopes"),
        life: Life { expires_at: row.get("expires_at"), revoked: row.get("revoked") },
    })))
}

pub(super) async fn operator(clients: &Clients, lookup: &str) -> Result<Option<Arc<OperatorRow>>, DbError> {
    let sql = "SELECT id, name, role, hash, expires_at, revoked_at IS NOT NULL AS revoked \
               FROM public.operator_tokens WHERE lookup = $1";
    let Some(row) = one(clients, sql, typed(&lookup, Type::TEXT)).await? else { return Ok(None) };
    Ok(Some(Arc::new(OperatorRow {
        id: row.get("id"),
        name: row.get("name"),
        // Whoever adds a role to the table and not to this program gives it the least here.
        role: row.get::<_, &str>("role").parse().unwrap_or(OperatorRole::Viewer),
        hash: stored_hash(&row)?,
        life: Life { expires_at: row.get("expires_at"), revoked: row.get("revoked") },
    })))
}

pub(super) async fn role_of(clients: &Clients, tenant: TenantId, subject: &str) -> Result<Option<Role>, DbError> {
    let sql = "SELECT role FROM public.tenant_members WHERE tenant_id = $1 AND subject = $2";
    let params = [typed(tenant.as_uuid(), Type::UUID), typed(&subject, Type::TEXT)];
    let Some(row) = read(clients, sql, &params).await? else { return Ok(None) };
    let role = row.get::<_, &str>(0).parse().map_err(|_| DbError::Misuse("the registry holds an unknown role"))?;
    Ok(Some(role))
}

fn stored_hash(row: &Row) -> Result<TokenHash, DbError> {
    TokenHash::from_stored(row.get("hash")).ok_or(DbError::Misuse("a stored token hash is not 32 bytes"))
}

/// The highest applied migration of each scope, and of the tenant least far.
pub(super) async fn schema_versions(clients: &Clients) -> Result<BTreeMap<String, i32>, DbError> {
    let client = clients.get().await?;
    let rows =
        client.query_typed("SELECT scope, max(version) FROM public.schema_migrations GROUP BY scope", &[]).await?;
    client.give_back();
    Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
}

fn tenant(row: &Row) -> Result<Arc<Tenant>, DbError> {
    let text = |name: &str| row.get::<_, String>(name);
    let slug = Slug::from_registry(&text("slug")).map_err(|_| DbError::Misuse("the registry holds an invalid slug"))?;
    let schema = SchemaName::from_registry(&text("schema_name"))
        .map_err(|_| DbError::Misuse("the registry holds an invalid schema name"))?;
    let status = text("status").parse().map_err(|_| DbError::Misuse("the registry holds an unknown status"))?;
    let millis =
        |name: &str| row.get::<_, Option<i32>>(name).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    Ok(Arc::new(Tenant {
        id: TenantId::from_uuid(row.get("id")),
        slug,
        schema,
        status,
        plan_tier: text("plan_tier"),
        allowed_domains: row.get::<_, Option<Vec<String>>>("allowed_domains").unwrap_or_default(),
        created_at: row.get("created_at"),
        limits: Limits {
            requests_per_minute: row.get("requests_per_minute"),
            max_agents: row.get("max_agents"),
            max_concurrent_tasks: row.get("max_concurrent_tasks"),
            max_tasks_per_month: row.get("max_tasks_per_month"),
            storage_limit_gb: row.get("storage_limit_gb"),
        },
        time_zone: settings::zone(row.get("time_zone")),
        display_currency: row.get("display_currency"),
        cell: CellId(row.get("cell_id")),
        generation: Generation(row.get("generation")),
        schema_version: row.get("schema_version"),
        login_role: text("login_role"),
        dedicated: row.get("dedicated"),
        statement_timeout: millis("statement_timeout_ms"),
        lock_timeout: millis("lock_timeout_ms"),
    }))
}
