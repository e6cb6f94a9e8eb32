use tenantry_core::{Slug, TenantId};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::{Provisioner, TenantFilter, TenantRow};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};

const SELECT: &str = "SELECT t.id, t.slug, t.schema_name, t.status, t.plan_tier, t.admin_email, t.allowed_domains, t.max_agents, \
        t.max_tasks_per_month, t.storage_limit_gb, t.stripe_customer_id, t.stripe_subscription_id, t.created_at, t.updated_at, t.deleted_at, \
        p.cell_id, p.generation, p.schema_version, p.statement_timeout_ms, p.lock_timeout_ms, p.canary, c.shard \
    FROM public.tenants t JOIN public.tenant_placements p ON p.tenant_id = t.id JOIN public.cells c ON c.id = p.cell_id";

pub(crate) async fn by_slug(client: &Client, slug: &str) -> Result<TenantRow, ProvisionError> {
    let rows = client.query_typed(&format!("{SELECT} WHERE t.slug = $1"), &[typed(&slug, Type::TEXT)]).await?;
    match rows.first() {
        Some(row) => Ok(tenant(row)?),
        None => Err(ProvisionError::NotFound(slug.chars().take(80).collect())),
    }
}

fn tenant(row: &Row) -> Result<TenantRow, DbError> {
    let invalid = DbError::Misuse("the registry holds an invalid tenant");
    let (Ok(slug), Ok(status)) = (Slug::from_registry(row.get("slug")), row.get::<_, &str>("status").parse()) else {
        return Err(invalid);
    };
    Ok(TenantRow {
        id: TenantId::from_uuid(row.get("id")),
        slug,
        schema_name: row.get("schema_name"),
        status,
        plan_tier: row.get("plan_tier"),
        admin_email: row.get("admin_email"),
        allowed_domains: row.get::<_, Option<Vec<String>>>("allowed_domains").unwrap_or_default(),
        max_agents: row.get("max_agents"),
        max_tasks_per_month: row.get("max_tasks_per_month"),
        storage_limit_gb: row.get("storage_limit_gb"),
        stripe_customer_id: row.get("stripe_customer_id"),
        stripe_subscription_id: row.get("stripe_subscription_id"),
        statement_timeout_ms: row.get("statement_timeout_ms"),
        lock_timeout_ms: row.get("lock_timeout_ms"),
        canary: row.get("canary"),
        cell: row.get("cell_id"),
        shard: row.get("shard"),
        generation: row.get("generation"),
        schema_version: row.get("schema_version"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
        deleted_at: row.get("deleted_at"),
    })
}

impl Provisioner {
    /// One tenant by slug, whatever its status.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn show(&self, slug: &str) -> Result<TenantRow, ProvisionError> {
        let client = self.control.get().await?;
        let tenant = by_slug(&client, slug).await;
        // A name that nobody has costs no connection.
        if !matches!(tenant, Err(ProvisionError::Database(_))) {
            client.give_back();
        }
        tenant
    }

    /// Tenants in the order of their slugs.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn list(&self, filter: &TenantFilter) -> Result<Vec<TenantRow>, ProvisionError> {
        let client = self.control.get().await?;
        let status = filter.status.map(|s| s.as_str());
        let rows = client
            .query_typed(
                &format!(
                    "{SELECT} WHERE ($1::text IS NULL OR t.status = $1) AND ($2::text IS NULL OR t.plan_tier = $2) \
                     AND ($3::text IS NULL OR starts_with(t.slug, $3)) AND ($4::text IS NULL OR t.slug COLLATE \"C\" > $4 COLLATE \"C\") \
                     ORDER BY t.slug COLLATE \"C\" LIMIT $5"
                ),
                &[
                    typed(&status, Type::TEXT),
                    typed(&filter.plan_tier, Type::TEXT),
                    typed(&filter.prefix, Type::TEXT),
                    typed(&filter.after, Type::TEXT),
                    (&filter.limit.max(1), Type::INT8),
                ],
            )
            .await?;
        client.give_back();
        Ok(rows.iter().map(tenant).collect::<Result<_, _>>()?)
    }
}
