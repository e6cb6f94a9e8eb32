//! What calls cost: price lists that are valid in time, and the tenants' own prices.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use uuid::Uuid;

use crate::call::Costed;
use crate::usage::Usage;

/// What decides which price is a call's.
#[derive(Debug, Clone, Copy)]
pub struct PriceQuery<'a> {
    /// Whose call it is: it may have prices of its own.
    pub tenant: TenantId,
    /// With which account.
    pub account: Option<Uuid>,
    /// The provider.
    pub provider: &'a str,
    /// The model that answered.
    pub model: &'a str,
    /// The tier that served it (`default`, `flex`, `priority`, `batch`, …).
    pub service_tier: Option<&'a str>,
    /// When it began.
    pub at: DateTime<Utc>,
}

/// All prices as they are now. Cheap to clone; what is loaded later is seen by all clones.
#[derive(Debug, Clone, Default)]
pub struct Prices {}

impl Prices {
    /// What a call costs, with what it would have cost elsewhere.
    #[must_use]
    pub fn cost(&self, _query: &PriceQuery<'_>, _usage: &Usage) -> Costed {
        Costed::unpriced()
    }

    /// The most that a call can cost that is about to be made; `None` when it has no price.
    #[must_use]
    pub fn at_most(
        &self,
        _query: &PriceQuery<'_>,
        _input_at_most: u64,
        _output_at_most: Option<u64>,
    ) -> Option<Decimal> {
        None
    }
}
