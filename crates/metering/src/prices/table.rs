//! Everything that prices are found in at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::PriceQuery;
use super::amount::Factor;
use super::baseline::{Compared, Field};
use super::catalogue::{Catalogue, Model, Plan, Price};
use super::overrides::{Agreed, Overrides};
use super::rates::dollars;
use crate::call::{CostSource, Costed};
use crate::usage::{Bounds, Usage};

/// Why a call has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The loaded prices are not known yet.
    NotLoaded,
    /// No price list has the model.
    Model,
    /// It has no price at that time.
    Time,
    /// Its price does not know the tier.
    Tier,
    /// It has no rate for something that was used, or the cost is beyond all bounds.
    Rate,
}

/// A provider's models by their names.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, Arc<Model>>,
    /// How names begin, the longest first.
    starts: Vec<(String, Arc<Model>)>,
}

impl Names {
    fn insert(&mut self, name: &str, model: &Arc<Model>) {
        match name.strip_suffix('*') {
            Some(start) => self.starts.push((start.to_owned(), model.clone())),
            None => _ = self.exact.insert(name.to_owned(), model.clone()),
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<Model>> {
        let starts = || self.starts.iter().find(|(start, _)| name.starts_with(start.as_str())).map(|(_, model)| model);
        self.exact.get(name).or_else(starts)
    }
}

/// Prices as they are at one moment.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) overrides: Overrides,
    /// Whether what is loaded in the database is in it.
    pub(super) known: bool,
    providers: HashMap<String, Names>,
    pub(super) models: Vec<Arc<Model>>,
    field: Field,
}

/// A price with what a query makes of it.
struct Found<'t> {
    price: &'t Price,
    plan: &'t Plan,
    factor: Factor,
    source: CostSource,
    version: Version<'t>,
    model: Option<&'t Model>,
}

/// A price's name, put together only for calls that keep it.
enum Version<'t> {
    One(&'t str),
    Both(&'t str, &'t str),
}

impl Version<'_> {
    fn text(&self) -> String {
        match self {
            Self::One(version) => (*version).to_owned(),
            Self::Both(list, agreed) => format!("{list};{agreed}"),
        }
    }
}

impl Table {
    pub(super) fn new(catalogue: Arc<Catalogue>, overrides: Overrides, known: bool) -> Self {
        let mut providers: HashMap<String, Names> = HashMap::new();
        let models: Vec<_> = catalogue.all().collect();
        for model in &models {
            let names = providers.entry(model.provider.clone()).or_default();
            for alias in &model.aliases {
                names.insert(alias, model);
            }
        }
        // A model's own name is nobody's alias.
        for model in &models {
            providers.entry(model.provider.clone()).or_default().insert(&model.name, model);
        }
        for names in providers.values_mut() {
            names.starts.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        }
        // Whoever has the prices of another is no further choice.
        let own = |model: &&Arc<Model>| {
            let provider = catalogue.providers.get(&model.provider);
            model.baseline && provider.is_some_and(|provider| provider.models.contains_key(&model.name))
        };
        let candidates: Vec<_> = models.iter().filter(own).cloned().collect();
        let field = Field::new(&candidates);
        Self { catalogue, overrides, known, providers, models, field }
    }

    pub(super) fn model(&self, provider: &str, name: &str) -> Option<&Arc<Model>> {
        self.providers.get(provider)?.find(name)
    }

    fn find<'t>(&'t self, query: &PriceQuery<'_>) -> Result<Found<'t>, Missing> {
        if !self.known {
            return Err(Missing::NotLoaded);
        }
        let model = self.model(query.provider, query.model).map(|model| &**model);
        let agreed = self.overrides.find(query.tenant, query.account, query.provider, query.model, query.at);
        let of = |price: &'t Price, factor: Factor, source: CostSource, version: Version<'t>| {
            let (plan, tier) = price.tier(query.service_tier).ok_or(Missing::Tier)?;
            Ok(Found { price, plan, factor: factor.and(tier), source, version, model })
        };
        if let Some(agreed) = agreed
            && let Some(price) = &agreed.price
        {
            return of(price, Factor::ONE, CostSource::Override, Version::One(&agreed.version));
        }
        let price = model.ok_or(Missing::Model)?.price(query.at).ok_or(Missing::Time)?;
        match agreed.map(|agreed| (&agreed.stored.agreed, &agreed.version)) {
            Some((Agreed::Multiplier(factor), version)) => {
                of(price, *factor, CostSource::Override, Version::Both(&price.version, version))
            }
            _ => of(price, Factor::ONE, CostSource::Catalogue, Version::One(&price.version)),
        }
    }

    pub(super) fn cost(&self, query: &PriceQuery<'_>, usage: &Usage) -> Result<Costed, Missing> {
        let found = self.find(query)?;
        let sheet = found.plan.sheet(usage.tokens_input());
        let cost = sheet.cost(usage, found.factor).ok_or(Missing::Rate)?;
        let compared = Compared {
            usage,
            at: query.at,
            tier: query.service_tier,
            class: found.model.and_then(|model| model.class.as_deref()),
            makes_text: sheet.rates.makes_text(),
            fees: &found.price.fees,
            cost,
        };
        let baselines = compared.with(&self.field);
        Ok(Costed {
            cost_usd: Some(dollars(cost).ok_or(Missing::Rate)?),
            cost_source: found.source,
            price_version: Some(found.version.text()),
            rates: Some(sheet.frozen(found.factor)),
            list_baseline_usd: baselines.list.and_then(dollars),
            like_baseline_usd: baselines.like.and_then(dollars),
            optimal: baselines.optimal,
        })
    }

    /// Bounds of a request with what its model can write at most, where that is known and less.
    pub(super) fn within(&self, query: &PriceQuery<'_>, bounds: &Bounds) -> Bounds {
        let of_one = self.model(query.provider, query.model).and_then(|model| model.max_output_tokens);
        let limit = of_one.map(|limit| limit.saturating_mul(bounds.choices.max(1)));
        let output_at_most = [bounds.output_at_most, limit].into_iter().flatten().min();
        Bounds { output_at_most, ..*bounds }
    }

    /// The usage that would be dearest of all that a call can have.
    pub(super) fn at_most(&self, query: &PriceQuery<'_>, bounds: &Bounds) -> Result<Option<Usage>, Missing> {
        let found = self.find(query)?;
        let output_at_most = self.within(query, bounds).output_at_most;
        let mut dearest: Option<(i128, Usage)> = None;
        for (input_at_most, sheet) in found.plan.sheets(bounds.input_at_most) {
            let Some(usage) = sheet.rates.dearest(input_at_most, output_at_most) else { return Ok(None) };
            let cost = sheet.cost(&usage, found.factor).ok_or(Missing::Rate)?;
            if dearest.as_ref().is_none_or(|(most, _)| cost > *most) {
                dearest = Some((cost, usage));
            }
        }
        Ok(dearest.map(|(_, usage)| usage))
    }

    /// The catalogue's models with their prices that are valid at a moment.
    pub(super) fn valid(&self, at: DateTime<Utc>) -> impl Iterator<Item = (&Arc<Model>, &Price)> {
        self.models.iter().filter_map(move |model| Some((model, model.price(at)?)))
    }
}
