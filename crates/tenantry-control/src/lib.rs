//! The control plane: what operators do with tenants over HTTP. No domain.
//!
//! Handlers parse, call the [`Provisioner`](tenantry_postgres::Provisioner) and map; one per file, and the file's path is the URL's.
//!
//! **Invariant.** Every change is one transaction of the provisioner that also writes its audit event, in the name of the
//! operator whose token was proved. There is no SQL here and no way around the provisioner.

mod api;
mod model;
mod page;
mod stripe;

pub use api::{Caller, Common, RULES, Repeatable, Rule, WithBody, guard, least_role, router, rule, webhooks};
pub use model::{
    AuditEvent, Billing, BillingEvent, Deletion, Key, NewKey, NewOperator, Operator, Plan, Provisioned, QuotaUse,
    Reading, Status, Tenant, Usage,
};
pub use page::Page;
pub use stripe::{CancelledAction, PastDueAction, Stripe, StripeError, StripeSettings};
