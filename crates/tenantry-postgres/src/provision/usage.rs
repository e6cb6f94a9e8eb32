//! What tenants use of their limits, as it was measured last: each of these is one query, whatever the size of the fleet.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_core::{TenantId, TenantStatus};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::Provisioner;
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};

/// One row for each tenant and thing that plans limit, in the order in which they are shown. What is counted by the month is
/// nothing until it was measured in this month.
pub(super) const USES: &str = "SELECT t.id, t.slug::text, t.status::text, t.plan_tier::text, u.measured_at, \
        coalesce(tenantry.storage_frozen(u.storage_bytes, coalesce(t.storage_limit_gb, p.storage_limit_gb), u.frozen), false) AS frozen, \
        q.quota_type, q.limit_name, q.used, q.most, \
        CASE WHEN q.used IS NULL OR q.most IS NULL THEN NULL WHEN q.most = 0 THEN 100 ELSE 100.0 * q.used / q.most END::float8 AS percent \
    FROM public.tenants t \
    JOIN public.plans p ON p.tier = t.plan_tier \
    LEFT JOIN public.tenant_usage u ON u.tenant_id = t.id \
    CROSS JOIN LATERAL (VALUES \
        (1, 'agents', 'max_agents', (u.counters ->> 'agents')::int8, coalesce(t.max_agents, p.max_agents)::int8), \
        (2, 'tasks', 'max_tasks_per_month', \
            CASE WHEN u.measured_at < date_trunc('month', now(), 'UTC') THEN 0 ELSE (u.counters ->> 'tasks')::int8 END, \
            coalesce(t.max_tasks_per_month, p.max_tasks_per_month)::int8), \
        (3, 'concurrent_tasks', 'max_concurrent_tasks', (u.counters ->> 'concurrent_tasks')::int8, p.max_concurrent_tasks::int8), \
        (4, 'storage', 'storage_limit_gb', u.storage_bytes, coalesce(t.storage_limit_gb, p.storage_limit_gb)::int8 * 1073741824) \
    ) AS q (place, quota_type, limit_name, used, most)";

/// How much of one limit a tenant uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuotaUse {
    /// `agents`, `tasks`, `concurrent_tasks` or `storage`.
    pub quota_type: String,
    /// The member of plans and tenants that limits it.
    pub limit_name: String,
    /// How much there is (bytes of storage); `None` before the first measurement.
    pub used: Option<i64>,
    /// How much there may be; `None` is unlimited.
    pub limit: Option<i64>,
    /// Of the limit.
    pub percent: Option<f64>,
}

/// What a tenant uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantUsage {
    /// The tenant.
    pub id: TenantId,
    /// Its public name.
    pub slug: String,
    /// Its status.
    pub status: TenantStatus,
    /// Its plan.
    pub plan_tier: String,
    /// Of each limit.
    pub quotas: Vec<QuotaUse>,
    /// Whether its writes are refused for want of storage.
    pub storage_frozen: bool,
    /// When it was measured; `None`: never yet.
    pub measured_at: Option<DateTime<Utc>>,
}

impl TenantUsage {
    /// The limit that is used most.
    #[must_use]
    pub fn tightest(&self) -> Option<&QuotaUse> {
        let limited = self.quotas.iter().filter(|quota| quota.percent.is_some());
        limited.max_by(|a, b| a.percent.unwrap_or_default().total_cmp(&b.percent.unwrap_or_default()))
    }
}

/// One point of the metric `tenant_quota_usage_percent`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuotaPercent {
    /// The tenant.
    pub tenant: TenantId,
    /// `agents`, `tasks`, `concurrent_tasks` or `storage`.
    pub quota_type: String,
    /// How much of the limit is used.
    pub percent: f64,
}

impl Provisioner {
    /// What one tenant uses, as it was measured last.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn usage(&self, slug: &str) -> Result<TenantUsage, ProvisionError> {
        let client = self.control.get().await?;
        let found = read(&client, Some(slug)).await?.pop();
        client.give_back();
        found.ok_or_else(|| ProvisionError::NotFound(slug.chars().take(80).collect()))
    }

    /// What all tenants use, those first that use most of one of their limits. Deleted ones are left out.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn fleet_usage(&self) -> Result<Vec<TenantUsage>, ProvisionError> {
        let client = self.control.get().await?;
        let mut fleet = read(&client, None).await?;
        client.give_back();
        let most = |usage: &TenantUsage| usage.tightest().and_then(|quota| quota.percent).unwrap_or(-1.0);
        fleet.sort_by(|a, b| most(b).total_cmp(&most(a)).then_with(|| a.slug.cmp(&b.slug)));
        Ok(fleet)
    }

    /// How much of each limit each tenant uses, in one query; the source of the metric `tenant_quota_usage_percent`. What is
    /// unlimited or was not measured yet has no point.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn quota_percentages(&self) -> Result<Vec<QuotaPercent>, ProvisionError> {
        let client = self.control.get().await?;
        let sql = format!(
            "SELECT * FROM ({USES}) AS q WHERE status <> 'deleted' AND percent IS NOT NULL ORDER BY id, quota_type"
        );
        let rows = client.query_typed(&sql, &[]).await?;
        client.give_back();
        let point = |row: &Row| QuotaPercent {
            tenant: TenantId::from_uuid(row.get("id")),
            quota_type: row.get("quota_type"),
            percent: row.get("percent"),
        };
        Ok(rows.iter().map(point).collect())
    }
}

/// One tenant, or all that are not deleted, in the order of their slugs.
async fn read(client: &Client, slug: Option<&str>) -> Result<Vec<TenantUsage>, DbError> {
    let sql = format!(
        "{USES} WHERE CASE WHEN $1::text IS NULL THEN t.status <> 'deleted' ELSE t.slug = $1 END ORDER BY t.slug, q.place"
    );
    let mut tenants: Vec<TenantUsage> = Vec::new();
    for row in client.query_typed(&sql, &[typed(&slug, Type::TEXT)]).await? {
        let id = TenantId::from_uuid(row.get("id"));
        if tenants.last().is_none_or(|last| last.id != id) {
            let status: &str = row.get("status");
            tenants.push(TenantUsage {
                id,
                slug: row.get("slug"),
                status: status.parse().map_err(|_| DbError::Misuse("the registry holds an unknown status"))?,
                plan_tier: row.get("plan_tier"),
                quotas: Vec::with_capacity(4),
                storage_frozen: row.get("frozen"),
                measured_at: row.get("measured_at"),
            });
        }
        if let Some(tenant) = tenants.last_mut() {
            tenant.quotas.push(quota(&row));
        }
    }
    Ok(tenants)
}

fn quota(row: &Row) -> QuotaUse {
    QuotaUse {
        quota_type: row.get("quota_type"),
        limit_name: row.get("limit_name"),
        used: row.get("used"),
        limit: row.get("most"),
        percent: row.get("percent"),
    }
}
