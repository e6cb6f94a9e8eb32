//! Catalogues as they are computed with: the one in the program, one that operators have loaded, and both together.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::amount::{Amount, Factor};
use super::entry::{ContextEntry, PriceEntry, RateEntry, TierEntry};
use super::file::{File, Flaws, ModelFile, PLAIN, ProviderFile, Reader};
use super::rates::{Fees, Rates, Sheet};

/// The files of the catalogue in the program.
const EMBEDDED: [&str; 5] = [
    include_str!("../../catalogue/anthropic.toml"),
    include_str!("../../catalogue/first_design.toml"),
    include_str!("../../catalogue/google.toml"),
    include_str!("../../catalogue/openai.toml"),
    include_str!("../../catalogue/others.toml"),
];

static PROGRAM: LazyLock<Arc<Catalogue>> = LazyLock::new(|| {
    let mut all = Catalogue::default();
    let mut hash = Sha256::new();
    for text in EMBEDDED {
        hash.update(text);
        all.providers.extend(Catalogue::parse(text).expect("the catalogue in the program is valid").providers);
    }
    all.digest = hex(&hash.finalize());
    Arc::new(all)
});

/// A price list: providers with their models and what these cost when.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// SHA-256 of its text.
    pub(super) digest: String,
    replaces: bool,
    pub(super) providers: BTreeMap<String, Provider>,
}

/// A provider.
#[derive(Debug, Clone, Default)]
pub(super) struct Provider {
    pub(super) prices_of: Option<String>,
    pub(super) models: BTreeMap<String, Arc<Model>>,
}

/// A model of a provider.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) provider: String,
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) class: Option<String>,
    pub(super) baseline: bool,
    pub(super) max_output_tokens: Option<u64>,
    /// In the order of time.
    pub(super) prices: Vec<Price>,
}

/// What a model costs for a time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Price {
    pub(super) from: DateTime<Utc>,
    pub(super) to: Option<DateTime<Utc>>,
    /// Names it for good: where it stands, since when, and a digest of what it says.
    pub(super) version: String,
    pub(super) source: String,
    pub(super) entry: PriceEntry,
    plain: Plan,
    tiers: Vec<(String, Plan)>,
    pub(super) fees: Fees,
}

/// The rates of a tier, by the size of the input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    base: Sheet,
    /// From so many tokens on, the longest first.
    long: Vec<(u64, Sheet)>,
}

impl Catalogue {
    /// The one in the program.
    pub(super) fn embedded() -> Arc<Self> {
        PROGRAM.clone()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub fn parse(text: &str) -> Result<Self, Flaws> {
        let mut reader = Reader::new(text);
        match reader.read() {
            Some(file) if reader.flaws.is_empty() => Ok(Self::of(&file, text)),
            _ => Err(Flaws(reader.flaws)),
        }
    }

    fn of(file: &File, text: &str) -> Self {
        let providers = file.providers.iter().map(|provider| (provider.name.get_ref().clone(), Provider::of(provider)));
        Self { digest: hex(&Sha256::digest(text)), replaces: file.replaces, providers: providers.collect() }
    }

    /// SHA-256 of its text, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many models it has, without those that a provider has from another.
    #[must_use]
    pub fn models(&self) -> usize {
        self.providers.values().map(|provider| provider.models.len()).sum()
    }

    /// The catalogue that counts when `self` was loaded over `below`: a model that both have is `self`'s alone, with all its prices.
    pub(super) fn over(&self, below: &Self) -> Self {
        if self.replaces {
            return self.clone();
        }
        let mut all = below.clone();
        all.digest = hex(&Sha256::digest(format!("{}{}", below.digest, self.digest)));
        for (name, provider) in &self.providers {
            let into = all.providers.entry(name.clone()).or_default();
            into.prices_of = provider.prices_of.clone().or_else(|| into.prices_of.take());
            // A name that is a model's own here is no other model's alias any more.
            for model in into.models.values_mut() {
                let taken = |alias: &String| provider.models.values().any(|new| new.is_called(alias));
                if model.aliases.iter().any(taken) {
                    let mut changed = (**model).clone();
                    changed.aliases.retain(|alias| !taken(alias));
                    *model = Arc::new(changed);
                }
            }
            into.models.extend(provider.models.iter().map(|(name, model)| (name.clone(), model.clone())));
        }
        all
    }

    /// Its models, and those that providers have from others.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Model>> {
        self.providers.iter().flat_map(|(name, provider)| {
            let from = provider.prices_of.as_ref().and_then(|other| self.providers.get(other));
            let inherited = from.into_iter().flat_map(|other| other.models.values());
            let inherited = inherited.filter(|model| !provider.models.contains_key(&model.name));
            let inherited = inherited.map(|model| Arc::new(model.at(name)));
            inherited.chain(provider.models.values().cloned())
        })
    }
}

impl Provider {
    fn of(file: &ProviderFile) -> Self {
        let models = file.models.iter().map(|model| (model.name.get_ref().clone(), Arc::new(Model::of(file, model))));
        Self { prices_of: file.prices_of.as_ref().map(|name| name.get_ref().clone()), models: models.collect() }
    }
}

impl Model {
    fn of(provider: &ProviderFile, file: &ModelFile) -> Self {
        let mut model = Self {
            provider: provider.name.get_ref().clone(),
            name: file.name.get_ref().clone(),
            aliases: file.aliases.iter().map(|alias| alias.get_ref().clone()).collect(),
            class: file.class.clone(),
            baseline: file.baseline,
            max_output_tokens: file.max_output_tokens,
            prices: Vec::new(),
        };
        let mut entries: Vec<_> = file.prices.iter().map(toml::Spanned::get_ref).collect();
        entries.sort_by_key(|entry| entry.from);
        for (at, entry) in entries.iter().enumerate() {
            let Some(from) = entry.from else { continue };
            let next = entries.get(at + 1).and_then(|next| next.from);
            let to = entry.to.or(next).map(|to| to.0);
            for (from, to, units) in model_periods(provider, from.0, to) {
                let mut price = entry.price();
                let own = price.units.clone();
                price.units.extend(units.filter(|(name, _)| !own.contains_key(*name)).map(|(n, p)| (n.clone(), *p)));
                let (name, source) = (format!("{}/{}", model.provider, model.name), entry.source.clone());
                model.prices.push(Price::new(&name, from, to, source, price));
            }
        }
        model
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// The price that is valid at a moment.
    pub(super) fn price(&self, at: DateTime<Utc>) -> Option<&Price> {
        // few, and the last is asked for most
        self.prices.iter().rev().find(|price| price.covers(at))
    }

    /// The same model as another provider has it.
    fn at(&self, provider: &str) -> Self {
        let mut model = Self { provider: provider.to_owned(), ..self.clone() };
        for price in &mut model.prices {
            price.version = version(&format!("{provider}/{}", self.name), price.from, &price.entry);
        }
        model
    }
}

type Units<'u> = Box<dyn Iterator<Item = (&'u String, &'u Amount)> + 'u>;

/// Cuts a price's time where the provider's prices of units change.
fn model_periods(
    provider: &ProviderFile,
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
) -> Vec<(DateTime<Utc>, Option<DateTime<Utc>>, Units<'_>)> {
    let inside = |at: &DateTime<Utc>| *at > from && to.is_none_or(|to| *at < to);
    let ends = provider.units.iter().flat_map(|units| {
        let units = units.get_ref();
        [Some(units.from.0), units.to.map(|to| to.0)]
    });
    let mut cuts: Vec<_> = ends.flatten().filter(inside).collect();
    cuts.push(from);
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts[1..].iter().copied().map(Some).chain([to]);
    let starts: Vec<_> = cuts.iter().copied().zip(ends).collect();
    let units_at = |at: DateTime<Utc>| -> Units<'_> {
        let valid = provider.units.iter().map(toml::Spanned::get_ref).filter(|units| units.from.0 <= at);
        // the last that began, unless it has ended
        let last = valid.max_by_key(|units| units.from).filter(|units| units.to.is_none_or(|to| at < to.0));
        Box::new(last.into_iter().flat_map(|units| &units.each))
    };
    starts.into_iter().map(|(from, to)| (from, to, units_at(from))).collect()
}

impl Price {
    /// `name` is `provider/model`.
    pub(super) fn new(
        name: &str,
        from: DateTime<Utc>,
        to: Option<DateTime<Utc>>,
        source: String,
        entry: PriceEntry,
    ) -> Self {
        let fees = Fees { per_call: entry.per_call.unwrap_or_default(), units: entry.units.clone() };
        let plain = Plan::new(None, &entry.rates(), &entry.context, &fees);
        let batch = entry.batch.iter().map(|tier| ("batch", tier));
        let tiers = entry.tiers.iter().map(|(name, tier)| (name.as_str(), tier)).chain(batch);
        let plan = |(name, tier): (&str, &TierEntry)| {
            (name.to_owned(), Plan::new(Some(name), &tier.rates(), &tier.context, &fees))
        };
        let tiers = tiers.map(plan).collect();
        Self { from, to, version: version(name, from, &entry), source, entry, plain, tiers, fees }
    }

    pub(super) fn covers(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }

    /// The plain tier.
    pub(super) const fn plain(&self) -> &Plan {
        &self.plain
    }

    /// What the tier that served a call makes of this price: `None` when the price does not know it. Several words are joined by `+`:
    /// a tier, and words with multipliers.
    pub(super) fn tier(&self, tier: Option<&str>) -> Option<(&Plan, Factor)> {
        let (mut plan, mut factor) = (&self.plain, Factor::ONE);
        for word in tier.unwrap_or_default().split('+') {
            if word.is_empty() || PLAIN.contains(&word) {
                continue;
            }
            if let Some((_, own)) = self.tiers.iter().find(|(name, _)| name == word) {
                plan = own;
            } else if let Some(multiplier) = self.entry.multipliers.get(word) {
                factor = factor.and(*multiplier);
            } else if !self.entry.any_tier {
                return None;
            }
        }
        Some((plan, factor))
    }
}

impl Plan {
    fn new(tier: Option<&str>, base: &RateEntry, contexts: &[ContextEntry], fees: &Fees) -> Self {
        let mark = tier.map(|tier| ("tier", json!(tier)));
        let marks: Vec<_> = mark.into_iter().collect();
        let mut long: Vec<_> = contexts
            .iter()
            .map(|context| {
                let (name, tokens) = match (context.above, context.at_least) {
                    (Some(above), _) => ("context_above", above),
                    (None, at_least) => ("context_at_least", at_least.unwrap_or(u64::MAX)),
                };
                let from = if context.above.is_some() { tokens.saturating_add(1) } else { tokens };
                let marks = [&marks[..], &[(name, json!(tokens))]].concat();
                (from, Sheet::new(Rates::of(&context.rates()), fees.clone(), &marks))
            })
            .collect();
        long.sort_by_key(|(from, _)| std::cmp::Reverse(*from));
        Self { base: Sheet::new(Rates::of(base), fees.clone(), &marks), long }
    }

    /// The rates for an input of this size: all of them or none.
    pub(super) fn sheet(&self, tokens_input: u64) -> &Sheet {
        self.long.iter().find(|(from, _)| tokens_input >= *from).map_or(&self.base, |(_, sheet)| sheet)
    }

    /// Whether it makes text at all.
    pub(super) const fn makes_text(&self) -> bool {
        self.base.rates.makes_text()
    }

    /// All rates that an input of at most this size can come under, each with the most input that comes under it.
    pub(super) fn sheets(&self, tokens_input: u64) -> impl Iterator<Item = (u64, &Sheet)> {
        let mut most = tokens_input;
        let of = move |(from, sheet)| {
            let under = (most, sheet);
            (tokens_input >= from).then(|| {
                most = from.saturating_sub(1);
                under
            })
        };
        let long = self.long.iter().map(|(from, sheet)| (*from, sheet));
        long.chain(std::iter::once((0, &self.base))).filter_map(of)
    }
}

/// `provider/model@from+digest8`.
fn version(name: &str, from: DateTime<Utc>, entry: &PriceEntry) -> String {
    // the members' order is the struct's, so the same price has the same digest everywhere
    let text = serde_json::to_string(entry).unwrap_or_default();
    let digest = hex(&Sha256::digest(text));
    format!("{name}@{}+{}", super::entry::Moment(from), &digest[..8])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
