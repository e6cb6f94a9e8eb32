use chrono::TimeDelta;
use serde_json::json;
use tenantry_core::TenantStatus;
use tokio_postgres::types::Type;

use super::create::refused;
use super::{DeleteOutcome, Provisioner, TenantPatch, TenantRow, audit, check_email, list, normal_domains};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::registry::Actor;

impl Provisioner {
    /// Refuses the tenant everywhere within a second; its data stays.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Transition`], [`ProvisionError::Database`].
    pub async fn suspend(&self, slug: &str, actor: &Actor) -> Result<TenantRow, ProvisionError> {
        self.become_status(slug, TenantStatus::Suspended, &[TenantStatus::Active], "tenant.suspend", actor).await
    }

    /// Serves a suspended tenant again.
    ///
    /// # Errors
    /// As [`suspend`](Self::suspend).
    pub async fn resume(&self, slug: &str, actor: &Actor) -> Result<TenantRow, ProvisionError> {
        self.become_status(slug, TenantStatus::Active, &[TenantStatus::Suspended], "tenant.resume", actor).await
    }

    /// Refuses the tenant and starts its grace period; nothing is removed yet.
    ///
    /// # Errors
    /// As [`suspend`](Self::suspend).
    pub async fn delete(&self, slug: &str, grace: TimeDelta, actor: &Actor) -> Result<DeleteOutcome, ProvisionError> {
        let from = [TenantStatus::Active, TenantStatus::Suspended];
        let tenant = self.become_status(slug, TenantStatus::Deleted, &from, "tenant.delete", actor).await?;
        let purge_after = tenant.deleted_at.unwrap_or(tenant.updated_at) + grace;
        Ok(DeleteOutcome { tenant, purge_after })
    }

    /// Serves a deleted tenant again, as it was.
    ///
    /// # Errors
    /// As [`suspend`](Self::suspend).
    pub async fn restore(&self, slug: &str, actor: &Actor) -> Result<TenantRow, ProvisionError> {
        self.become_status(slug, TenantStatus::Active, &[TenantStatus::Deleted], "tenant.restore", actor).await
    }

    /// Changes the status. A step to the status it has already is answered and changes nothing.
    async fn become_status(
        &self,
        slug: &str,
        to: TenantStatus,
        from: &[TenantStatus],
        action: &str,
        actor: &Actor,
    ) -> Result<TenantRow, ProvisionError> {
        let client = self.control.get().await?;
        client.batch_execute("BEGIN").await?;
        client
            .query_typed("SELECT 1 FROM public.tenants WHERE slug = $1 FOR UPDATE", &[typed(&slug, Type::TEXT)])
            .await?;
        let before = list::by_slug(&client, slug).await?;
        if before.status != to {
            if !from.contains(&before.status) {
                return Err(ProvisionError::Transition { slug: slug.to_owned(), from: before.status, to });
            }
            client
                .execute_typed(
                    "UPDATE public.tenants SET status = $2, deleted_at = CASE WHEN $2 = 'deleted' THEN clock_timestamp() END WHERE slug = $1",
                    &[typed(&slug, Type::TEXT), typed(&to.as_str(), Type::TEXT)],
                )
                .await?;
            let details = json!({ "from": before.status, "to": to });
            audit(&client, Some(*before.id.as_uuid()), actor, action, &format!("tenant/{}", before.id), details)
                .await?;
        }
        let after = list::by_slug(&client, slug).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(after)
    }

    /// Changes plan, limits, contact or hosts.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::UnknownPlan`], [`ProvisionError::DomainTaken`],
    /// [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn update(&self, slug: &str, patch: &TenantPatch, actor: &Actor) -> Result<TenantRow, ProvisionError> {
        if let Some(email) = &patch.admin_email {
            check_email(email)?;
        }
        let domains = patch.allowed_domains.as_deref().map(normal_domains).transpose()?;
        for limit in [patch.max_agents, patch.max_tasks_per_month, patch.storage_limit_gb] {
            if limit.flatten().is_some_and(|l| l < 0) {
                return Err(ProvisionError::Invalid("a limit is not negative".into()));
            }
        }
        let client = self.control.get().await?;
        client.batch_execute("BEGIN").await?;
        let before = list::by_slug(&client, slug).await?;
        let result = client
            .execute_typed(
                "UPDATE public.tenants SET plan_tier = coalesce($2, plan_tier), admin_email = coalesce($3, admin_email), \
                    allowed_domains = coalesce($4, allowed_domains), \
                    max_agents = CASE WHEN $5 THEN $6 ELSE max_agents END, \
                    max_tasks_per_month = CASE WHEN $7 THEN $8 ELSE max_tasks_per_month END, \
                    storage_limit_gb = CASE WHEN $9 THEN $10 ELSE storage_limit_gb END \
                 WHERE slug = $1",
                &[
                    typed(&slug, Type::TEXT),
                    typed(&patch.plan_tier, Type::TEXT),
                    typed(&patch.admin_email, Type::TEXT),
                    typed(&domains, Type::TEXT_ARRAY),
                    typed(&patch.max_agents.is_some(), Type::BOOL),
                    typed(&patch.max_agents.flatten(), Type::INT4),
                    typed(&patch.max_tasks_per_month.is_some(), Type::BOOL),
                    typed(&patch.max_tasks_per_month.flatten(), Type::INT4),
                    typed(&patch.storage_limit_gb.is_some(), Type::BOOL),
                    typed(&patch.storage_limit_gb.flatten(), Type::INT4),
                ],
            )
            .await
            .map_err(DbError::from);
        if let Err(error) = result {
            let plan = patch.plan_tier.as_deref().unwrap_or_default();
            return Err(refused(error, slug, plan, domains.as_deref().unwrap_or_default()));
        }
        let after = list::by_slug(&client, slug).await?;
        let details = json!({ "before": before, "after": after });
        audit(&client, Some(*before.id.as_uuid()), actor, "tenant.update", &format!("tenant/{}", before.id), details)
            .await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(after)
    }
}
