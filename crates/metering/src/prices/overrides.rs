//! What tenants pay instead of the catalogue's prices.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tenantry_core::TenantId;
use uuid::Uuid;

use super::amount::Factor;
use super::catalogue::{Price, hex};
use super::entry::{Moment, PriceEntry};

/// What was agreed: a price, or a part of the catalogue's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreed {
    /// A price of its own.
    Price(Box<PriceEntry>),
    /// The catalogue's price, of which what tokens cost is multiplied with this.
    Multiplier(Factor),
}

/// An override as it is stored.
#[derive(Debug, Clone)]
pub struct StoredOverride {
    /// Its id.
    pub id: Uuid,
    /// Whose calls it is for.
    pub tenant: TenantId,
    /// The provider.
    pub provider: String,
    /// A model's name, or how names begin and `*`.
    pub model: String,
    /// The only account that it is for.
    pub account: Option<Uuid>,
    /// From when on.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: Option<DateTime<Utc>>,
    /// What was agreed.
    pub agreed: Agreed,
}

/// An override that calls are priced with.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) stored: StoredOverride,
    pub(super) price: Option<Price>,
    pub(super) version: String,
}

impl Override {
    fn new(stored: StoredOverride) -> Self {
        let name = format!("{}/{}", stored.provider, stored.model);
        let digest = hex(&Sha256::digest(stored.id));
        let version = format!("{name}@{}+{}", Moment(stored.from), &digest[..8]);
        let price = match &stored.agreed {
            Agreed::Price(entry) => {
                Some(Price::new(&name, stored.from, stored.to, String::new(), entry.as_ref().clone()))
            }
            Agreed::Multiplier(_) => None,
        };
        Self { stored, price, version }
    }

    fn covers(&self, account: Option<Uuid>, provider: &str, model: &str, at: DateTime<Utc>) -> bool {
        let stored = &self.stored;
        let named = match stored.model.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => stored.model == model,
        };
        named
            && stored.provider == provider
            && (stored.account.is_none() || stored.account == account)
            && stored.from <= at
            && stored.to.is_none_or(|to| at < to)
    }
}

/// The overrides of all tenants.
#[derive(Debug, Default)]
pub(super) struct Overrides(HashMap<TenantId, Vec<Override>>);

impl Overrides {
    pub(super) fn new(stored: Vec<StoredOverride>) -> Self {
        let mut all: HashMap<TenantId, Vec<Override>> = HashMap::new();
        for stored in stored {
            all.entry(stored.tenant).or_default().push(Override::new(stored));
        }
        for list in all.values_mut() {
            // the first that covers a call is the one: for an account before any, a name before a beginning, a longer
            // beginning before a shorter, the one that began last, the one that was made last
            list.sort_by_key(|each| {
                let stored = &each.stored;
                let exact = !stored.model.ends_with('*');
                std::cmp::Reverse((stored.account.is_some(), exact, stored.model.len(), stored.from, stored.id))
            });
        }
        Self(all)
    }

    pub(super) fn find(
        &self,
        tenant: TenantId,
        account: Option<Uuid>,
        provider: &str,
        model: &str,
        at: DateTime<Utc>,
    ) -> Option<&Override> {
        self.0.get(&tenant)?.iter().find(|each| each.covers(account, provider, model, at))
    }

    /// Those of one tenant, in the order in which they are looked at.
    pub(super) fn of(&self, tenant: TenantId) -> &[Override] {
        self.0.get(&tenant).map_or(&[], Vec::as_slice)
    }
}
