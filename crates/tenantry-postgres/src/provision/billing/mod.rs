//! What tenants owe, as the payment provider tells it, and what follows from that.
//!
//! **Invariant.** Where a tenant stands is a function of the *set* of its customer's events ([`fold`](fold::fold)) and of the policy. Every
//! event that arrives is added to the set and the function is applied anew, so neither order nor repetition can change the end.

mod fold;
mod list;
mod settle;

pub use fold::{BillingEvent, EventKind, Standing};
pub use list::{BillingEventRow, BillingFilter, TenantBilling};
pub use settle::BillingOutcome;
pub(super) use settle::{lock, settle};

use std::collections::BTreeMap;

use chrono::TimeDelta;

/// What happens to a tenant whose payment fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPastDue {
    /// It is suspended after this time.
    SuspendAfter(TimeDelta),
    /// Nothing; operators decide.
    Keep,
}

/// What happens to a tenant whose subscription has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnCancelled {
    /// It goes to this plan and is served on.
    Plan(String),
    /// It is suspended.
    Suspend,
}

/// What follows from a tenant's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingPolicy {
    /// The plan of each price. A price that is not here leaves the plan as it is.
    pub prices: BTreeMap<String, String>,
    /// When a payment fails.
    pub past_due: OnPastDue,
    /// When a subscription has ended.
    pub cancelled: OnCancelled,
}

impl Default for BillingPolicy {
    /// No prices; fourteen days to pay; then the plan `free`.
    fn default() -> Self {
        Self {
            prices: BTreeMap::new(),
            past_due: OnPastDue::SuspendAfter(TimeDelta::days(14)),
            cancelled: OnCancelled::Plan("free".to_owned()),
        }
    }
}
