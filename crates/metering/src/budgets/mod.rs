//! What may be spent.

use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_postgres::TenantContext;

use crate::call::Attribution;

/// Why a call is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// A budget is used up.
    #[error("the budget `{name}` of {limit_usd} USD a {period} is used up")]
    Exhausted {
        /// What the tenant calls it.
        name: String,
        /// `day`, `week` or `month`.
        period: &'static str,
        /// Its limit.
        limit_usd: Decimal,
        /// When the next period begins.
        resets_at: chrono::DateTime<chrono::Utc>,
    },
    /// The database cannot be asked, and nothing is held for this server.
    #[error("the budgets cannot be read now")]
    Unknown,
}

/// What a call may cost, held until it is known what it did. Dropped, it is given back.
#[derive(Debug)]
pub struct Hold {}

impl Hold {
    /// The call is in the spool and has cost this: it stays spent here until it is shipped.
    pub fn settle(self, _cost_usd: Option<Decimal>) {}
}

/// The budgets of all tenants, as far as this server has to do with them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Budgets {}

impl Budgets {
    /// Holds what a call may cost, in every budget that it counts in.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub async fn admit(
        &self,
        _context: &TenantContext,
        _attribution: &Attribution,
        _at_most_usd: Option<Decimal>,
    ) -> Result<Hold, NotAdmitted> {
        Ok(Hold {})
    }

    /// What this server shipped is in the counters now, so it is no longer spent here.
    pub fn shipped(&self, _tenant: TenantId, _attribution: &Attribution, _cost_usd: Decimal) {}
}
