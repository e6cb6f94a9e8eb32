use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

/// An event of the payment provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct BillingEvent {
    /// The provider's id.
    pub id: String,
    /// What happened, in the provider's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub created: DateTime<Utc>,
    /// Whose it is there.
    pub customer: String,
    /// Of which subscription.
    pub subscription: String,
    /// The subscription's status at that moment; `null` for events of invoices.
    #[schema(required)]
    pub status: Option<String>,
    /// The prices paid for; empty for events of invoices.
    pub prices: Vec<String>,
    /// The tenant, which may be purged by now; `null` as long as no one tenant has the customer.
    #[schema(required)]
    pub tenant_id: Option<Uuid>,
    /// `applied`, `unchanged`, `unknown_customer` or `ambiguous_customer`.
    pub outcome: String,
    /// What an operator should know about it, such as a price without a plan.
    #[schema(required)]
    pub detail: Option<String>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When it was counted for its tenant.
    #[schema(required)]
    pub applied_at: Option<DateTime<Utc>>,
}

impl From<registry::BillingEventRow> for BillingEvent {
    fn from(row: registry::BillingEventRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            created: row.created,
            customer: row.customer,
            subscription: row.subscription,
            status: row.status,
            prices: row.prices,
            tenant_id: row.tenant_id.map(|id| *id.as_uuid()),
            outcome: row.outcome,
            detail: row.detail,
            received_at: row.received_at,
            applied_at: row.applied_at,
        }
    }
}

/// Where a tenant stands with its payments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Billing {
    /// `none`, `paid`, `past_due` or `cancelled`; `none` also as long as nothing was heard of its customer.
    pub standing: String,
    /// Its customer at the provider.
    #[schema(required)]
    pub customer: Option<String>,
    /// The subscription that counts.
    #[schema(required)]
    pub subscription: Option<String>,
    /// The plan that the payments ask for; operators may have given another one since.
    #[schema(required)]
    pub plan_tier: Option<String>,
    /// Since when a payment is missing.
    #[schema(required)]
    pub past_due_since: Option<DateTime<Utc>>,
    /// When the subscription ended.
    #[schema(required)]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// From when on the tenant is to be suspended.
    #[schema(required)]
    pub suspend_at: Option<DateTime<Utc>>,
    /// Whether it is suspended for this, so that a payment ends it.
    pub suspended: bool,
    /// When this last changed.
    #[schema(required)]
    pub updated_at: Option<DateTime<Utc>>,
}

impl From<Option<registry::TenantBilling>> for Billing {
    fn from(billing: Option<registry::TenantBilling>) -> Self {
        match billing {
            Some(b) => Self {
                standing: b.standing,
                customer: Some(b.customer),
                subscription: b.subscription,
                plan_tier: b.plan_tier,
                past_due_since: b.past_due_since,
                cancelled_at: b.cancelled_at,
                suspend_at: b.suspend_at,
                suspended: b.suspended,
                updated_at: Some(b.updated_at),
            },
            None => Self {
                standing: registry::Standing::None.as_str().to_owned(),
                customer: None,
                subscription: None,
                plan_tier: None,
                past_due_since: None,
                cancelled_at: None,
                suspend_at: None,
                suspended: false,
                updated_at: None,
            },
        }
    }
}
