//! From the events of a customer to where it stands. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::BillingPolicy;

/// What happened. The order of the variants settles which of two events of the same second counts as the later one, for the
/// provider's clock counts seconds: a subscription is made before anything else and ended after it, and in doubt it is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// `customer.subscription.created`.
    Created,
    /// `invoice.payment_failed`.
    PaymentFailed,
    /// `customer.subscription.updated`.
    Updated,
    /// `invoice.paid`.
    Paid,
    /// `customer.subscription.deleted`.
    Deleted,
}

impl EventKind {
    const ALL: [Self; 5] = [Self::Created, Self::PaymentFailed, Self::Updated, Self::Paid, Self::Deleted];

    /// The provider's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "customer.subscription.created",
            Self::PaymentFailed => "invoice.payment_failed",
            Self::Updated => "customer.subscription.updated",
            Self::Paid => "invoice.paid",
            Self::Deleted => "customer.subscription.deleted",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// An event of a subscription or of one of its invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingEvent {
    /// The provider's id, by which it is known when it is delivered again.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// When, in whole seconds.
    pub created: DateTime<Utc>,
    /// Whose.
    pub customer: String,
    /// Of which subscription.
    pub subscription: String,
    /// Of events of the subscription itself: its status at that moment, in the provider's words.
    pub status: Option<String>,
    /// Of events of the subscription itself: the ids of what is paid for.
    pub prices: Vec<String>,
}

/// Where a tenant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing was subscribed, or the first payment is still to come.
    None,
    /// Paid.
    Paid,
    /// A payment failed and was not made up for.
    PastDue,
    /// The subscription has ended.
    Cancelled,
}

impl Standing {
    /// The registry's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Paid => "paid",
            Self::PastDue => "past_due",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What follows from a set of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) standing: Standing,
    pub(super) subscription: Option<String>,
    /// The plan that is paid for.
    pub(super) plan: Option<String>,
    pub(super) past_due_since: Option<DateTime<Utc>>,
    pub(super) cancelled_at: Option<DateTime<Utc>>,
    /// Prices of the subscription that no plan has.
    pub(super) unknown_prices: Vec<String>,
}

#[derive(Debug, Default)]
struct Subscription {
    began: DateTime<Utc>,
    entitled: bool,
    plan: Option<String>,
    unknown_prices: Vec<String>,
    past_due_since: Option<DateTime<Utc>>,
    cancelled_at: Option<DateTime<Utc>>,
}

impl Subscription {
    fn standing(&self) -> Standing {
        if self.cancelled_at.is_some() {
            Standing::Cancelled
        } else if !self.entitled {
            Standing::None
        } else if self.past_due_since.is_some() {
            Standing::PastDue
        } else {
            Standing::Paid
        }
    }

    fn apply(&mut self, event: &BillingEvent, policy: &BillingPolicy) {
        if let Some(plan) = event.prices.iter().find_map(|price| policy.prices.get(price)) {
            self.plan = Some(plan.clone());
            self.unknown_prices.clear();
        } else if !event.prices.is_empty() {
            self.unknown_prices.clone_from(&event.prices);
        }
        // A subscription that has ended never comes back; whoever returns gets another one.
        if self.cancelled_at.is_some() {
            return;
        }
        match event.kind {
            EventKind::Created | EventKind::Updated => self.becomes(event.status.as_deref(), event.created),
            EventKind::Deleted => self.cancelled_at = Some(event.created),
            EventKind::Paid => self.becomes(Some("active"), event.created),
            EventKind::PaymentFailed => {
                // The first payment of all is not owed: without it there is no subscription yet.
                if self.entitled {
                    self.past_due_since.get_or_insert(event.created);
                }
            }
        }
    }

    fn becomes(&mut self, status: Option<&str>, at: DateTime<Utc>) {
        match status {
            Some("active" | "trialing") => {
                self.entitled = true;
                self.past_due_since = None;
            }
            Some("past_due" | "unpaid" | "paused") => {
                self.entitled = true;
                self.past_due_since.get_or_insert(at);
            }
            Some("canceled" | "incomplete_expired") => self.cancelled_at = Some(at),
            // `incomplete`, and words that are not known here, say nothing new.
            _ => {}
        }
    }
}

/// Where the customer of these events stands. The order in which they are given does not matter, and neither does it if one is
/// given twice.
pub(super) fn fold(events: &[BillingEvent], policy: &BillingPolicy) -> Verdict {
    let mut sorted: Vec<&BillingEvent> = events.iter().collect();
    sorted.sort_by(|a, b| (a.created, a.kind, &a.id).cmp(&(b.created, b.kind, &b.id)));
    let mut subscriptions: BTreeMap<&str, Subscription> = BTreeMap::new();
    for event in sorted {
        let fresh = || Subscription { began: event.created, ..Subscription::default() };
        subscriptions.entry(&event.subscription).or_insert_with(fresh).apply(event, policy);
    }
    // The one that counts first: alive before ended, ended before not begun, then the youngest.
    let rank = |subscription: &Subscription| match subscription.standing() {
        Standing::Paid | Standing::PastDue => 2,
        Standing::Cancelled => 1,
        Standing::None => 0,
    };
    let mut ordered: Vec<(&str, &Subscription)> = subscriptions.iter().map(|(id, state)| (*id, state)).collect();
    ordered.sort_by(|(a, x), (b, y)| (rank(y), y.began, b).cmp(&(rank(x), x.began, a)));
    let Some((id, chosen)) = ordered.first().filter(|(_, state)| state.standing() != Standing::None) else {
        return Verdict {
            standing: Standing::None,
            subscription: None,
            plan: None,
            past_due_since: None,
            cancelled_at: None,
            unknown_prices: Vec::new(),
        };
    };
    // Where its own price is not known, another one's: so that what is paid for does not depend on which was heard of first.
    let begun = ordered.iter().filter(|(_, state)| state.standing() != Standing::None);
    Verdict {
        standing: chosen.standing(),
        subscription: Some((*id).to_owned()),
        plan: begun.into_iter().find_map(|(_, state)| state.plan.clone()),
        past_due_since: chosen.past_due_since.filter(|_| chosen.standing() == Standing::PastDue),
        cancelled_at: chosen.cancelled_at,
        unknown_prices: chosen.unknown_prices.clone(),
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
