//! What calls cost: price lists that are valid in time, and the tenants' own prices.
//!
//! * A *catalogue* is the list in the program (`crates/metering/catalogue`), under the one that operators have loaded into the database.
//! * An *override* is a tenant's own price, or its part of the catalogue's, for all accounts or for one.
//!
//! Both have dates, and a call is priced with what is valid when it began. What was found is frozen on the call, so that its cost can
//! be computed again from its row alone ([`recompute`]), whatever becomes of the lists. The formulae are in `docs/guides/prices.md`.
//!
//! **Invariant.** A cost that is not known is `None`, never zero: no model, no price at the time, a tier that the price does not know, a
//! bucket or unit without a rate, or prices that could not be loaded yet.

mod amount;
mod baseline;
mod catalogue;
mod current;
mod diff;
mod entry;
mod file;
mod overrides;
mod rates;
mod reprice;
mod table;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tenantry_core::TenantId;
use uuid::Uuid;

pub use amount::{Amount, Factor};
pub use catalogue::Catalogue;
pub use current::{LoadError, LoadRequest, Loaded, PricesError};
pub use diff::{Change, Difference, Effect, Member, ModelEffect};
pub use entry::{ContextEntry, DatedEntry, Moment, PriceEntry, RateEntry, TierEntry};
pub use file::{Flaw, Flaws};
pub(crate) use file::{check_price, is_pattern};
pub use overrides::{Agreed, StoredOverride};
pub use rates::{RecomputeError, recompute};
pub use reprice::{NoPlace, Reprice, RepriceError, Repriced, RepricedModel};
pub(crate) use view::page;
pub use view::{PriceFilter, PricePage, PriceView};

use crate::call::Costed;
use crate::usage::{Bounds, Usage};
use current::Unpriced;
use table::Table;

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
    /// The tier that served it (`default`, `flex`, `priority`, `batch`, …). Several words are joined by `+`: a tier and what its price
    /// is multiplied for, such as `batch+us` or `fast`.
    pub service_tier: Option<&'a str>,
    /// When it began.
    pub at: DateTime<Utc>,
}

/// All prices as they are now. Cheap to clone; what is loaded later is seen by all clones.
///
/// The default is the catalogue in the program, without overrides.
#[derive(Debug, Clone)]
pub struct Prices {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: ArcSwap<Table>,
    unpriced: Unpriced,
    /// What the table was made of, for whoever looks whether it is current.
    mark: ArcSwap<Option<crate::store::prices::Mark>>,
    reloads: AtomicU64,
}

impl Default for Prices {
    fn default() -> Self {
        Self::of(Table::new(Catalogue::embedded(), overrides::Overrides::default(), true))
    }
}

impl Prices {
    fn of(table: Table) -> Self {
        let inner = Inner {
            table: ArcSwap::from_pointee(table),
            unpriced: Unpriced::default(),
            mark: ArcSwap::from_pointee(None),
            reloads: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Prices of a catalogue and of overrides, without a database.
    #[must_use]
    pub fn with(catalogue: &Catalogue, agreed: Vec<StoredOverride>) -> Self {
        let catalogue = Arc::new(catalogue.over(&Catalogue::embedded()));
        Self::of(Table::new(catalogue, overrides::Overrides::new(agreed), true))
    }

    /// What a call costs, with what it would have cost elsewhere.
    #[must_use]
    pub fn cost(&self, query: &PriceQuery<'_>, usage: &Usage) -> Costed {
        self.inner.table.load().cost(query, usage).unwrap_or_else(|missing| {
            self.inner.unpriced.note(query, missing);
            Costed::unpriced()
        })
    }

    /// The most that a call can use and cost that is about to be made: all input in the dearest bucket of input, as much output as was
    /// asked for or as the model can write, in the dearest bucket of output, in the dearest context that the input can come under. Units
    /// (searches) are not in it, for nobody knows how many there will be. `None` when it has no price, or nothing bounds its output.
    #[must_use]
    pub fn at_most(&self, query: &PriceQuery<'_>, bounds: &Bounds) -> Option<(Usage, Costed)> {
        let table = self.inner.table.load();
        let usage = table.at_most(query, bounds).ok().flatten()?;
        let cost = table.cost(query, &usage).ok()?;
        Some((usage, cost))
    }

    /// Bounds of a request with what its model can write at most, where that is known and less.
    #[must_use]
    pub fn within(&self, query: &PriceQuery<'_>, bounds: &Bounds) -> Bounds {
        self.inner.table.load().within(query, bounds)
    }

    /// How many calls this server has found no price for.
    #[must_use]
    pub fn unpriced_calls(&self) -> u64 {
        self.inner.unpriced.total()
    }

    /// How often prices have been taken from the database.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.inner.reloads.load(Ordering::Relaxed)
    }

    /// The digest of the catalogue that counts.
    #[must_use]
    pub fn digest(&self) -> String {
        self.inner.table.load().catalogue.digest().to_owned()
    }
}
