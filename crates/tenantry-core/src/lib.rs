//! The words of tenancy: ids, names, statuses, secrets and the clock. No I/O and no domain.
//!
//! Everything here is validated once, at the edge, and then carried as a type: there is no way back
//! from a [`Slug`] to an unchecked string that could end up in SQL.

pub mod calendar;
mod clock;
mod ids;
mod names;
mod operator;
mod role;
mod secret;
pub mod serde_seconds;
mod tenant;

pub use clock::{Clock, ManualClock, SystemClock};
pub use ids::{ApiKeyId, IdError, MemberId, RequestId, TenantId};
pub use names::{NameError, RoleName, SchemaName, Slug, quote_identifier, quote_literal};
pub use operator::{OperatorRole, UnknownOperatorRole};
pub use role::{Role, UnknownRole};
pub use secret::{MintedToken, PresentedToken, TokenError, TokenHash, TokenKind};
pub use tenant::{Generation, TenantStatus, UnknownStatus};
