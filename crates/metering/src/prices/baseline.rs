//! What the same tokens would have cost elsewhere.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::catalogue::{Model, Price};
use super::rates::{Counts, Fees};
use crate::usage::Usage;

/// The call that others are compared with.
pub(super) struct Compared<'c> {
    pub(super) usage: &'c Usage,
    pub(super) at: DateTime<Utc>,
    pub(super) tier: Option<&'c str>,
    pub(super) class: Option<&'c str>,
    /// Whether its own model writes text; one that only embeds is compared with its like.
    pub(super) makes_text: bool,
    /// What units cost where the other has no price for them.
    pub(super) fees: &'c Fees,
    pub(super) cost: i128,
}

/// In millionths of a millionth of a dollar.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baselines {
    pub(super) list: Option<i128>,
    pub(super) like: Option<i128>,
    pub(super) optimal: Option<bool>,
}

/// The models that calls are compared with, by the times between which none of their prices changes: this is asked for each call.
#[derive(Debug, Default)]
pub(super) struct Field(Vec<Epoch>);

#[derive(Debug)]
struct Epoch {
    from: i64,
    writers: Vec<Candidate>,
    others: Vec<Candidate>,
}

/// A model with its price in an epoch.
#[derive(Debug, Clone)]
struct Candidate {
    model: Arc<Model>,
    price: usize,
}

impl Candidate {
    fn price(&self) -> &Price {
        &self.model.prices[self.price]
    }
}

impl Field {
    pub(super) fn new(models: &[Arc<Model>]) -> Self {
        let prices = models.iter().flat_map(|model| &model.prices);
        let mut cuts: Vec<_> = prices.flat_map(|price| [Some(price.from), price.to]).flatten().collect();
        cuts.sort_unstable();
        cuts.dedup();
        let epoch = |from: DateTime<Utc>| {
            let valid = |model: &Arc<Model>| {
                let price = model.prices.iter().position(|price| price.covers(from))?;
                Some(Candidate { model: model.clone(), price })
            };
            let valid = models.iter().filter_map(valid);
            let (writers, others) = valid.partition(|candidate| candidate.price().plain().makes_text());
            Epoch { from: from.timestamp_micros(), writers, others }
        };
        Self(cuts.into_iter().map(epoch).collect())
    }

    fn at(&self, at: DateTime<Utc>, makes_text: bool) -> &[Candidate] {
        let at = at.timestamp_micros();
        let behind = self.0.partition_point(|epoch| epoch.from <= at);
        let epoch = behind.checked_sub(1).and_then(|last| self.0.get(last));
        epoch.map_or(&[], |epoch| if makes_text { &epoch.writers } else { &epoch.others })
    }
}

impl Compared<'_> {
    /// `list`: the dearest of all that could have served it, in the plain tier and without a cache. `like`: the dearest of the same
    /// class, in the same tier where it has that, with the same reads and writes of a cache. A model that has no rate for something
    /// that was used could not have served it.
    pub(super) fn with(&self, field: &Field) -> Baselines {
        let tokens = self.usage.tokens_input();
        let (counts, uncached) = (Counts::of(self.usage), Counts::uncached(self.usage));
        let mut found = Baselines::default();
        let mut cheapest: Option<i128> = None;
        for candidate in field.at(self.at, self.makes_text) {
            let price = candidate.price();
            let Some(fees) = price.fees.of(self.usage, Some(self.fees)) else { continue };
            let list = price.plain().sheet(tokens).rates.of_tokens(&uncached).map(|cost| cost + fees);
            found.list = found.list.max(list);
            if self.class.is_some() && candidate.model.class.as_deref() == self.class {
                let tier = price.tier(self.tier).or_else(|| price.tier(None));
                let like = tier.and_then(|(plan, factor)| {
                    factor.of(plan.sheet(tokens).rates.of_tokens(&counts)?).map(|cost| cost + fees)
                });
                found.like = found.like.max(like);
                cheapest = [cheapest, like].into_iter().flatten().min();
            }
        }
        found.optimal = cheapest.map(|cheapest| self.cost <= cheapest);
        found
    }
}
