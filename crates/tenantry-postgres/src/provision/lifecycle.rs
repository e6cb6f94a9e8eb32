use chrono::TimeDelta;
use serde_json::json;
use tenantry_core::TenantStatus;
use tokio_postgres::types::Type;

use super::{DeleteOutcome, Provisioner, TenantRow, audit, list};
use crate::clients::typed;
use crate::error::ProvisionError;
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
        if let Some(done) = self.start(&client).await? {
            client.give_back();
            return Ok(done);
        }
        client
            .query_typed("SELECT 1 FROM public.tenants WHERE slug = $1 FOR NO KEY UPDATE", &[typed(&slug, Type::TEXT)])
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
        if to == TenantStatus::Suspended {
            // Now it is suspended because somebody said so: a payment does not end it.
            let sql = "UPDATE public.tenant_billing SET suspended = false WHERE tenant_id = $1 AND suspended";
            client.execute_typed(sql, &[typed(before.id.as_uuid(), Type::UUID)]).await?;
        }
        let after = list::by_slug(&client, slug).await?;
        self.finish(client, &after).await?;
        Ok(after)
    }
}
