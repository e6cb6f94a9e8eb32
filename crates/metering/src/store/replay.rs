//! What a replay has to know of the database.

use chrono::{DateTime, Utc};
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterTx, statements};
use uuid::Uuid;

statements! {
    /// Tenants by slug, with their zones.
    TENANTS(TEXT_ARRAY) = "SELECT id, slug::text, time_zone FROM public.tenants WHERE slug::text = ANY ($1) AND status = 'active'";
    /// When a call began.
    BEGUN(UUID, UUID) = "SELECT \"timestamp\" FROM analytics.provider_api_calls WHERE tenant_id = $1 AND id = $2 LIMIT 1";
}

/// Active tenants by slug: id, slug and the name of their zone.
///
/// # Errors
/// [`DbError`].
pub async fn tenants(tx: &MeterTx, slugs: &[String]) -> Result<Vec<(TenantId, String, String)>, DbError> {
    let rows = tx.query(&TENANTS, &[&slugs]).await?;
    Ok(rows.iter().map(|row| (TenantId::from_uuid(row.get(0)), row.get(1), row.get(2))).collect())
}

/// When a call began; `None` when there is none with this id.
///
/// # Errors
/// [`DbError`].
pub async fn begun(tx: &MeterTx, tenant: TenantId, id: Uuid) -> Result<Option<DateTime<Utc>>, DbError> {
    Ok(tx.query_opt(&BEGUN, &[tenant.as_uuid(), &id]).await?.map(|row| row.get(0)))
}
