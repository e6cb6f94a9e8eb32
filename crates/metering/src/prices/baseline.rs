//! What the same tokens would have cost elsewhere.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::catalogue::Model;
use super::rates::Fees;
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

impl Compared<'_> {
    /// `list`: the dearest of all that could have served it, in the plain tier and without a cache. `like`: the dearest of the same
    /// class, in the same tier where it has that, with the same reads and writes of a cache. A model that has no rate for something
    /// that was used could not have served it.
    pub(super) fn with(&self, models: &[Arc<Model>]) -> Baselines {
        let tokens = self.usage.tokens_input();
        let mut found = Baselines::default();
        let mut cheapest: Option<i128> = None;
        for model in models {
            let Some(price) = model.price(self.at) else { continue };
            let sheet = price.plain().sheet(tokens);
            if sheet.rates.makes_text() != self.makes_text {
                continue;
            }
            let Some(fees) = price.fees.of(self.usage, Some(self.fees)) else { continue };
            let list = sheet.rates.uncached().of_tokens(self.usage).map(|cost| cost + fees);
            found.list = found.list.max(list);
            if self.class.is_some() && model.class.as_deref() == self.class {
                let tier = price.tier(self.tier).or_else(|| price.tier(None));
                let like = tier.and_then(|(plan, factor)| {
                    factor.of(plan.sheet(tokens).rates.of_tokens(self.usage)?).map(|cost| cost + fees)
                });
                found.like = found.like.max(like);
                cheapest = [cheapest, like].into_iter().flatten().min();
            }
        }
        found.optimal = cheapest.map(|cheapest| self.cost <= cheapest);
        found
    }
}
