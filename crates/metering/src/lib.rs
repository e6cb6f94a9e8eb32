//! Metering: every call to a provider counted once, priced exactly, and kept where it can be asked about.
//!
//! A call goes this way. Each step can be killed; what was acknowledged stays, and what is repeated changes nothing.
//!
//! 1. *Admit*: [`budgets`] holds what the call may cost, or refuses.
//! 2. *Intent*: [`spool`] has on disk that the call is about to be made, before it is.
//! 3. *Settle*: [`usage`] reads what the provider counted, [`prices`] says what it costs, and the spool has that on disk before the answer ends.
//! 4. *Ship*: [`ship`] takes it to the database with the counters and the mark of its hour, in one transaction, and acknowledges it to the spool.
//! 5. *Roll up*: [`rollup`] makes the sums of marked hours and days anew.
//!
//! [`gateway`] is where calls pass through us; [`api`] holds the endpoints of tenants (recording, budgets, analytics), [`operators`]
//! those of operators. What a tenant reads it reads as itself, through its `TenantTx`; what the pipeline writes it writes as the role
//! `tenantry_meter`, which reaches nothing of a tenant's own schema.

mod answers;
pub mod api;
pub mod bills;
pub mod budgets;
mod call;
pub mod codes;
pub mod gateway;
pub mod insight;
mod meter;
mod money;
pub mod operators;
pub mod prices;
pub mod provider_call;
pub mod replay;
pub mod reports;
pub mod rollup;
mod settings;
mod sheets;
pub mod ship;
pub mod spool;
pub mod statements;
pub mod store;
#[cfg(test)]
mod testing;
pub mod usage;
pub mod verify;

pub use api::v1::prices::{CreatePriceOverride, PriceOverride};
pub use call::{Attribution, Call, CostSource, Costed, Finish, Kind, Source, UsageSource, bucket};
pub use meter::{Metering, MeteringError};
pub use money::Usd;
pub use rust_decimal::Decimal;
pub use settings::MeteringSettings;
