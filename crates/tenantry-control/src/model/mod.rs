//! What operators read. The registry's rows as JSON, with the same names.

mod audit;
mod billing;
mod key;
mod operator;
mod plan;
mod tenant;
mod usage;

use secrecy::{ExposeSecret as _, SecretString};

pub use audit::AuditEvent;
pub use billing::{Billing, BillingEvent};
pub use key::{Key, NewKey};
pub(crate) use operator::Role;
pub use operator::{NewOperator, Operator};
pub use plan::Plan;
pub use tenant::{Deletion, Provisioned, Reading, Status, Tenant};
pub use usage::{QuotaUse, Usage};

/// The one place where a secret becomes text: the answer to the request that made it.
fn shown(token: &SecretString) -> String {
    token.expose_secret().to_owned()
}
