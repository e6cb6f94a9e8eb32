//! Secrets of tenants at rest: sealed with a key of the tenant, which is wrapped by a master key that the database never sees.
//!
//! ```text
//! master key (file, environment, Vault, AWS Secrets Manager)
//!    └─ wraps ─► data key of a tenant (public.tenant_data_keys, versions)
//!                   └─ seals ─► a value of a column, bound to tenant, table, column and row
//! ```
//!
//! * [`Secrets`] seals and opens values for a [`TenantContext`](tenantry_postgres::TenantContext). Data keys are made on first use,
//!   kept in memory for a bounded time, and wiped from it.
//! * [`MasterKeys`] is what a keeper of master keys can do: say which is current, wrap, unwrap.
//! * [`Tickets`] leads a stranger's answer back to the tenant that it is for.
//! * A value's place ([`Place`]) is authenticated with it: copied to another row, column or tenant, it does not open.
//!
//! Nothing here knows what a tenant keeps secret, or why.

mod cache;
mod data_key;
mod envelope;
mod error;
mod master;
mod rotate;
mod secrets;
mod settings;
mod tickets;

pub use data_key::DataKey;
pub use envelope::{MAX_BYTES, Place, key_version, prefix};
pub use error::SecretsError;
pub use master::{Binding, KeyRing, MasterKeyError, MasterKeys, RingError, Wrapped, is_master_key_id, new_key_line};
pub use rotate::{Progress, Rewrapped, Status};
pub use secrets::Secrets;
pub use settings::{AwsConfig, MasterSource, SecretsConfig, VARIABLE, VaultConfig};
pub use tickets::{Ticket, Tickets};
