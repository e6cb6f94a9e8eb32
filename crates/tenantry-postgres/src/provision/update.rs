use serde_json::json;
use tokio_postgres::types::Type;

use super::create::refused;
use super::{
    Provisioner, TenantPatch, TenantRow, audit, billing, check_email, check_limit, check_plan, list, normal_domains,
};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::registry::Actor;

const UPDATE: &str = "UPDATE public.tenants SET plan_tier = coalesce($2, plan_tier), admin_email = coalesce($3, admin_email), \
        allowed_domains = coalesce($4, allowed_domains), \
        max_agents = CASE WHEN $5 THEN $6 ELSE max_agents END, \
        max_tasks_per_month = CASE WHEN $7 THEN $8 ELSE max_tasks_per_month END, \
        storage_limit_gb = CASE WHEN $9 THEN $10 ELSE storage_limit_gb END, \
        stripe_customer_id = CASE WHEN $11 THEN $12 ELSE stripe_customer_id END, \
        stripe_subscription_id = CASE WHEN $13 THEN $14 ELSE stripe_subscription_id END \
    WHERE slug = $1 AND ($15::timestamptz IS NULL OR updated_at = $15)";

const UPDATE_PLACEMENT: &str = "UPDATE public.tenant_placements SET \
        statement_timeout_ms = CASE WHEN $2 THEN $3 ELSE statement_timeout_ms END, \
        lock_timeout_ms = CASE WHEN $4 THEN $5 ELSE lock_timeout_ms END, canary = coalesce($6, canary) \
    WHERE tenant_id = $1";

impl Provisioner {
    /// Changes plan, limits, contact, hosts, billing ids, time limits, or whether it is a canary. Every change moves `updated_at`; a
    /// patch that names nothing changes nothing.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::UnknownPlan`], [`ProvisionError::DomainTaken`], [`ProvisionError::Invalid`],
    /// [`ProvisionError::Changed`] when the patch names another `updated_at` than the tenant's, [`ProvisionError::Database`].
    pub async fn update(&self, slug: &str, patch: &TenantPatch, actor: &Actor) -> Result<TenantRow, ProvisionError> {
        check(patch)?;
        let domains = patch.allowed_domains.as_deref().map(normal_domains).transpose()?;
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        if let Some(Some(customer)) = &patch.stripe_customer_id {
            billing::lock(&client, customer).await?;
        }
        // The lock makes what the audit event calls `before` the row that is changed.
        client
            .query_typed("SELECT 1 FROM public.tenants WHERE slug = $1 FOR NO KEY UPDATE", &[typed(&slug, Type::TEXT)])
            .await?;
        let before = list::by_slug(&client, slug).await?;
        if is_empty(patch) {
            client.batch_execute("ROLLBACK").await?;
            client.give_back();
            let stale = patch.if_updated_at.is_some_and(|at| at != before.updated_at);
            return if stale { Err(ProvisionError::Changed(Box::new(before))) } else { Ok(before) };
        }
        let result = client
            .execute_typed(
                UPDATE,
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
                    typed(&patch.stripe_customer_id.is_some(), Type::BOOL),
                    typed(&patch.stripe_customer_id.as_ref().and_then(Option::as_deref), Type::TEXT),
                    typed(&patch.stripe_subscription_id.is_some(), Type::BOOL),
                    typed(&patch.stripe_subscription_id.as_ref().and_then(Option::as_deref), Type::TEXT),
                    typed(&patch.if_updated_at, Type::TIMESTAMPTZ),
                ],
            )
            .await
            .map_err(DbError::from);
        match result {
            Ok(0) => return Err(ProvisionError::Changed(Box::new(before))),
            Ok(_) => {}
            Err(error) => {
                let plan = patch.plan_tier.as_deref().unwrap_or_default();
                return Err(refused(error, slug, plan, domains.as_deref().unwrap_or_default()));
            }
        }
        if patch.statement_timeout_ms.is_some() || patch.lock_timeout_ms.is_some() || patch.canary.is_some() {
            client
                .execute_typed(
                    UPDATE_PLACEMENT,
                    &[
                        typed(before.id.as_uuid(), Type::UUID),
                        typed(&patch.statement_timeout_ms.is_some(), Type::BOOL),
                        typed(&patch.statement_timeout_ms.flatten(), Type::INT4),
                        typed(&patch.lock_timeout_ms.is_some(), Type::BOOL),
                        typed(&patch.lock_timeout_ms.flatten(), Type::INT4),
                        typed(&patch.canary, Type::BOOL),
                    ],
                )
                .await?;
        }
        if patch.stripe_customer_id.is_some() {
            // What was heard of the customer before anybody said whose it is.
            billing::settle(&client, &self.billing, before.id, actor).await?;
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

/// Whether the patch names nothing to change.
fn is_empty(patch: &TenantPatch) -> bool {
    // Taken apart, so that a new member is not forgotten.
    let TenantPatch {
        plan_tier,
        admin_email,
        allowed_domains,
        max_agents,
        max_tasks_per_month,
        storage_limit_gb,
        stripe_customer_id,
        stripe_subscription_id,
        statement_timeout_ms,
        lock_timeout_ms,
        canary,
        if_updated_at: _,
    } = patch;
    plan_tier.is_none()
        && admin_email.is_none()
        && allowed_domains.is_none()
        && max_agents.is_none()
        && max_tasks_per_month.is_none()
        && storage_limit_gb.is_none()
        && stripe_customer_id.is_none()
        && stripe_subscription_id.is_none()
        && statement_timeout_ms.is_none()
        && lock_timeout_ms.is_none()
        && canary.is_none()
}

fn check(patch: &TenantPatch) -> Result<(), ProvisionError> {
    patch.admin_email.as_deref().map_or(Ok(()), check_email)?;
    patch.plan_tier.as_deref().map_or(Ok(()), check_plan)?;
    check_limit("max_agents", patch.max_agents.flatten(), 0)?;
    check_limit("max_tasks_per_month", patch.max_tasks_per_month.flatten(), 0)?;
    check_limit("storage_limit_gb", patch.storage_limit_gb.flatten(), 0)?;
    check_limit("statement_timeout_ms", patch.statement_timeout_ms.flatten(), 1)?;
    check_limit("lock_timeout_ms", patch.lock_timeout_ms.flatten(), 1)?;
    check_billing_id("stripe_customer_id", &patch.stripe_customer_id)?;
    check_billing_id("stripe_subscription_id", &patch.stripe_subscription_id)
}

fn check_billing_id(member: &'static str, id: &Option<Option<String>>) -> Result<(), ProvisionError> {
    match id {
        Some(Some(id)) if id.is_empty() || id.len() > 255 || !id.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(ProvisionError::Invalid {
                member,
                detail: format!("`{member}` has 1 to 255 printable ASCII characters"),
            })
        }
        _ => Ok(()),
    }
}
