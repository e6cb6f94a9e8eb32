//! What operators see of it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_core::TenantId;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::clients::typed;
use crate::error::ProvisionError;
use crate::provision::{Provisioner, list};

/// An event as it was taken in.
#[derive(Debug, Clone, Serialize)]
pub struct BillingEventRow {
    /// Its number in the order of arrival.
    pub seq: i64,
    /// The provider's id.
    pub id: String,
    /// What happened, in the provider's words.
    pub kind: String,
    /// When.
    pub created: DateTime<Utc>,
    /// Whose.
    pub customer: String,
    /// Of which subscription.
    pub subscription: String,
    /// The subscription's status at that moment.
    pub status: Option<String>,
    /// What is paid for.
    pub prices: Vec<String>,
    /// The tenant, which may be purged by now.
    pub tenant_id: Option<TenantId>,
    /// What became of it.
    pub outcome: String,
    /// What an operator should know about it.
    pub detail: Option<String>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When it was counted for its tenant.
    pub applied_at: Option<DateTime<Utc>>,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct BillingFilter {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only of this customer.
    pub customer: Option<String>,
    /// Only those with this outcome.
    pub outcome: Option<String>,
    /// Only those that arrived before this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// Where a tenant stands with its payments.
#[derive(Debug, Clone, Serialize)]
pub struct TenantBilling {
    /// Its customer at the provider.
    pub customer: String,
    /// The subscription that counts.
    pub subscription: Option<String>,
    /// `none`, `paid`, `past_due` or `cancelled`.
    pub standing: String,
    /// The plan that the events ask for.
    pub plan_tier: Option<String>,
    /// Since when a payment is missing.
    pub past_due_since: Option<DateTime<Utc>>,
    /// When the subscription ended.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// From when on it is to be suspended.
    pub suspend_at: Option<DateTime<Utc>>,
    /// Whether it is suspended for this, so that a payment ends it.
    pub suspended: bool,
    /// When this last changed.
    pub updated_at: DateTime<Utc>,
}

impl Provisioner {
    /// Events as they were taken in, the latest arrival first.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn billing_events(&self, filter: &BillingFilter) -> Result<Vec<BillingEventRow>, ProvisionError> {
        let before = filter.before.unwrap_or(i64::MAX);
        let tenant = filter.tenant.map(|id| *id.as_uuid());
        let params: [(&(dyn ToSql + Sync), Type); 5] = [
            typed(&before, Type::INT8),
            typed(&filter.limit, Type::INT8),
            typed(&tenant, Type::UUID),
            typed(&filter.customer, Type::TEXT),
            typed(&filter.outcome, Type::TEXT),
        ];
        let sql = "SELECT seq, id, type, created, customer, subscription, status, prices, tenant_id, outcome, detail, received_at, applied_at \
                   FROM public.stripe_events WHERE seq < $1 AND ($3::uuid IS NULL OR tenant_id = $3) \
                     AND ($4::text IS NULL OR customer = $4) AND ($5::text IS NULL OR outcome = $5) ORDER BY seq DESC LIMIT $2";
        let client = self.control.get().await?;
        let rows = client.query_typed(sql, &params).await?;
        client.give_back();
        let event = |row: &tokio_postgres::Row| BillingEventRow {
            seq: row.get("seq"),
            id: row.get("id"),
            kind: row.get("type"),
            created: row.get("created"),
            customer: row.get("customer"),
            subscription: row.get("subscription"),
            status: row.get("status"),
            prices: row.get("prices"),
            tenant_id: row.get::<_, Option<Uuid>>("tenant_id").map(TenantId::from_uuid),
            outcome: row.get("outcome"),
            detail: row.get("detail"),
            received_at: row.get("received_at"),
            applied_at: row.get("applied_at"),
        };
        Ok(rows.iter().map(event).collect())
    }

    /// Where a tenant stands with its payments; `None` as long as nothing was heard of its customer.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn tenant_billing(&self, slug: &str) -> Result<Option<TenantBilling>, ProvisionError> {
        let client = self.control.get().await?;
        let tenant = list::by_slug(&client, slug).await?;
        let sql = "SELECT customer, subscription, standing, plan_tier, past_due_since, cancelled_at, suspend_at, suspended, updated_at \
                   FROM public.tenant_billing WHERE tenant_id = $1";
        let rows = client.query_typed(sql, &[typed(tenant.id.as_uuid(), Type::UUID)]).await?;
        client.give_back();
        Ok(rows.first().map(|row| TenantBilling {
            customer: row.get("customer"),
            subscription: row.get("subscription"),
            standing: row.get("standing"),
            plan_tier: row.get("plan_tier"),
            past_due_since: row.get("past_due_since"),
            cancelled_at: row.get("cancelled_at"),
            suspend_at: row.get("suspend_at"),
            suspended: row.get("suspended"),
            updated_at: row.get("updated_at"),
        }))
    }
}
