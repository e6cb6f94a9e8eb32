use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{BillingPolicy, OnCancelled, OnPastDue};

/// Settings of Stripe's webhooks and of what follows from them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StripeSettings {
    /// Files with the signing secrets (`whsec_…`) of the webhook endpoint; two while one is rotated. Default: none, so webhooks
    /// are refused.
    pub webhook_secret_files: Vec<PathBuf>,
    /// How old a signature may be, and how far the clocks may be apart. Default: 300 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub tolerance: Duration,
    /// What happens to a tenant whose payment failed and whose time to pay is over: `suspend` or `keep`. Default: `suspend`.
    pub past_due: PastDueAction,
    /// Days to pay after a payment failed. Default: 14.
    pub past_due_grace_days: u16,
    /// What happens to a tenant whose subscription has ended: `plan`, it gets `cancelled_plan`, or `suspend`. Default: `plan`.
    pub cancelled: CancelledAction,
    /// The plan of tenants whose subscription has ended. Default: `free`.
    pub cancelled_plan: String,
    /// The plan of each price. A price that is not here leaves a tenant's plan as it is. Default: none.
    pub prices: BTreeMap<String, String>,
}

/// What happens to a tenant that does not pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PastDueAction {
    /// It is suspended when its time to pay is over.
    Suspend,
    /// Nothing; operators decide.
    Keep,
}

/// What happens to a tenant whose subscription has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledAction {
    /// It gets another plan and is served on.
    Plan,
    /// It is suspended.
    Suspend,
}

impl Default for StripeSettings {
    fn default() -> Self {
        Self {
            webhook_secret_files: Vec::new(),
            tolerance: Duration::from_secs(300),
            past_due: PastDueAction::Suspend,
            past_due_grace_days: 14,
            cancelled: CancelledAction::Plan,
            cancelled_plan: "free".to_owned(),
            prices: BTreeMap::new(),
        }
    }
}

impl StripeSettings {
    /// What follows from a tenant's standing.
    #[must_use]
    pub fn policy(&self) -> BillingPolicy {
        BillingPolicy {
            prices: self.prices.clone(),
            past_due: match self.past_due {
                PastDueAction::Suspend => OnPastDue::SuspendAfter(TimeDelta::days(self.past_due_grace_days.into())),
                PastDueAction::Keep => OnPastDue::Keep,
            },
            cancelled: match self.cancelled {
                CancelledAction::Plan => OnCancelled::Plan(self.cancelled_plan.clone()),
                CancelledAction::Suspend => OnCancelled::Suspend,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_the_documented_policy() {
        assert_eq!(StripeSettings::default().policy(), BillingPolicy::default());
    }
}
