//! Catalogue files: read, and checked for everything that would make a wrong bill.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use super::amount::Amount;
use super::entry::{ContextEntry, DatedEntry, Moment, PriceEntry, RateEntry, TierEntry};

/// The version of the format that this program reads.
const FORMAT: u32 = 1;
/// More than this for a million tokens is a mistake: the dearest rate there has been is 600.
const ABSURD: Amount = Amount::from_micros(2_000_000_000);
/// Less than this is a price for fewer tokens.
const TINY: Amount = Amount::from_micros(1_000);
/// More than this for one call or one use of a unit is a mistake.
const ABSURD_FEE: Amount = Amount::from_micros(100_000_000);
/// Words for the plain tier, which needs none.
pub(super) const PLAIN: [&str; 4] = ["default", "standard", "auto", "on_demand"];

/// What is wrong with a catalogue, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Flaw {
    /// The line, from 1.
    pub line: Option<usize>,
    /// The provider, model and price.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.problem)?;
        self.hint.iter().try_for_each(|hint| write!(f, " (hint: {hint})"))
    }
}

/// Everything that is wrong with a catalogue.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Flaws(pub Vec<Flaw>);

/// A catalogue file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    format: u32,
    /// Whether it stands alone, instead of over the catalogue in the program.
    #[serde(default)]
    pub(super) replaces: bool,
    #[serde(default, rename = "provider")]
    pub(super) providers: Vec<ProviderFile>,
}

/// A provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderFile {
    pub(super) name: Spanned<String>,
    /// The provider whose models and prices it has as well.
    pub(super) prices_of: Option<Spanned<String>>,
    /// Prices of units for models that have none of their own.
    #[serde(default)]
    pub(super) units: Vec<Spanned<UnitsFile>>,
    #[serde(default, rename = "model")]
    pub(super) models: Vec<ModelFile>,
}

/// Prices of units for a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitsFile {
    pub(super) from: Moment,
    pub(super) to: Option<Moment>,
    pub(super) source: String,
    #[expect(dead_code, reason = "for people who read the file")]
    checked: chrono::NaiveDate,
    pub(super) each: BTreeMap<String, Amount>,
}

/// A model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelFile {
    pub(super) name: Spanned<String>,
    /// Other names: exact, or how they begin and `*`.
    #[serde(default)]
    pub(super) aliases: Vec<Spanned<String>>,
    /// What it can do, in a word; only models of the same class are compared as equals.
    pub(super) class: Option<String>,
    /// Whether others are compared with it.
    #[serde(default = "yes")]
    pub(super) baseline: bool,
    /// The most that it writes in one answer.
    pub(super) max_output_tokens: Option<u64>,
    #[serde(default, rename = "price")]
    pub(super) prices: Vec<Spanned<DatedEntry>>,
}

const fn yes() -> bool {
    true
}

/// Collects what is wrong.
pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) flaws: Vec<Flaw>,
}

impl<'t> Reader<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, flaws: Vec::new() }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    fn flaw(&mut self, at: Option<usize>, place: &str, problem: impl Into<String>, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        let line = at.map(|at| self.line(at));
        self.flaws.push(Flaw { line, place: place.to_owned(), problem: problem.into(), hint });
    }

    /// The file, if it can be read at all; whether its rules hold is in [`flaws`](Self::flaws) then.
    pub(super) fn read(&mut self) -> Option<File> {
        match toml::from_str::<File>(self.text) {
            Ok(file) => {
                self.check(&file);
                Some(file)
            }
            Err(error) => {
                let at = error.span().map(|span| span.start);
                let problem = error.message().trim().replace('\n', "; ");
                let unknown = problem.starts_with("unknown field");
                let hint = if unknown { "an unknown member would be a price that nobody pays" } else { "" };
                self.flaw(at, "", problem, hint);
                None
            }
        }
    }

    fn check(&mut self, file: &File) {
        if file.format != FORMAT {
            self.flaw(None, "format", format!("is `{}`, this program reads `{FORMAT}`", file.format), "");
        }
        let mut names = BTreeSet::new();
        for provider in &file.providers {
            let (at, name) = (provider.name.span().start, provider.name.get_ref());
            if !is_word(name) {
                self.flaw(Some(at), name, "is no name of a provider", "a-z, 0-9, `_`, `.` and `-`, 63 at most");
            }
            if !names.insert(name) {
                self.flaw(Some(at), name, "is there twice", "put all of its models under one `[[provider]]`");
            }
            self.provider(provider);
        }
    }

    fn provider(&mut self, provider: &ProviderFile) {
        let name = provider.name.get_ref();
        if let Some(other) = &provider.prices_of
            && other.get_ref() == name
        {
            self.flaw(Some(other.span().start), name, "has the prices of itself", "name another provider");
        }
        let mut periods = Vec::new();
        for units in &provider.units {
            let (at, entry) = (units.span().start, units.get_ref());
            let place = format!("{name} units from {}", entry.from);
            self.source(at, &place, &entry.source);
            self.units(at, &place, &entry.each);
            periods.push((at, entry.from, entry.to));
        }
        self.periods(&format!("{name} units"), periods);
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for model in &provider.models {
            let names = std::iter::once(&model.name).chain(&model.aliases);
            for alias in names {
                let (at, text) = (alias.span().start, alias.get_ref().as_str());
                let place = format!("{name}/{}", model.name.get_ref());
                if !is_pattern(text) {
                    let hint = "up to 200 characters; a `*` may stand at the end alone";
                    self.flaw(Some(at), &place, format!("`{text}` is no name of a model"), hint);
                }
                if let Some(other) = taken.insert(text, model.name.get_ref()) {
                    let problem = format!("the name `{text}` is `{name}/{other}`'s already");
                    self.flaw(Some(at), &place, problem, "a name leads to one model only");
                }
            }
            self.model(name, model);
        }
    }

    fn model(&mut self, provider: &str, model: &ModelFile) {
        let place = format!("{provider}/{}", model.name.get_ref());
        let at = model.name.span().start;
        if model.prices.is_empty() {
            self.flaw(Some(at), &place, "has no price", "leave it out: calls to it are then unpriced");
        }
        if let Some(class) = &model.class
            && !is_word(class)
        {
            self.flaw(Some(at), &place, format!("`{class}` is no class"), "a word of a-z, 0-9, `_`, `.` and `-`");
        }
        if model.max_output_tokens.is_some_and(|most| most > 10_000_000) {
            self.flaw(Some(at), &place, "writes more than 10,000,000 tokens in one answer", "");
        }
        let mut periods = Vec::new();
        for price in &model.prices {
            let (at, entry) = (price.span().start, price.get_ref());
            let place = entry.from.map_or_else(|| place.clone(), |from| format!("{place} from {from}"));
            match entry.from {
                Some(from) => periods.push((at, from, entry.to)),
                None => self.flaw(Some(at), &place, "a price has no `from`", "the first day on which it was valid"),
            }
            self.source(at, &place, &entry.source);
            if entry.checked.is_none() {
                self.flaw(
                    Some(at),
                    &place,
                    "a price has no `checked`",
                    "the day on which it was compared with its source",
                );
            }
            self.price(Some(at), &place, &entry.price());
        }
        self.periods(&place, periods);
    }

    fn source(&mut self, at: usize, place: &str, source: &str) {
        if source.trim().is_empty() || source.len() > 500 {
            let hint = "the address of the page, or the contract, that says what it costs";
            self.flaw(Some(at), place, "`source` is empty or longer than 500 bytes", hint);
        }
    }

    /// Periods of one thing must not overlap: a moment has one price.
    fn periods(&mut self, place: &str, mut periods: Vec<(usize, Moment, Option<Moment>)>) {
        periods.sort_by_key(|(_, from, _)| *from);
        for (at, from, to) in &periods {
            if to.is_some_and(|to| to <= *from) {
                self.flaw(Some(*at), place, format!("the price from {from} ends before it begins"), "");
            }
        }
        for pair in periods.windows(2) {
            let ((_, first, to), (at, second, _)) = (&pair[0], &pair[1]);
            if first == second || to.is_some_and(|to| to > *second) {
                let problem = format!("the price from {first} overlaps the one from {second}");
                self.flaw(Some(*at), place, problem, "end the earlier one with `to`, or leave `to` out");
            }
        }
    }

    fn units(&mut self, at: usize, place: &str, units: &BTreeMap<String, Amount>) {
        for (name, price) in units {
            self.fee(Some(at), place, name, *price);
            if !is_word(name) {
                self.flaw(Some(at), place, format!("`{name}` is no name of a unit"), "such as `web_search`");
            }
        }
    }

    fn fee(&mut self, at: Option<usize>, place: &str, name: &str, price: Amount) {
        if price > ABSURD_FEE {
            let problem = format!("`{name}` costs {price} US dollars each");
            self.flaw(at, place, problem, "fees are for one call or one use, not for a thousand");
        }
    }

    /// The rules of a price; also for those of tenants, which have no line.
    pub(super) fn price(&mut self, at: Option<usize>, place: &str, price: &PriceEntry) {
        let rates = price.rates();
        if rates == RateEntry::default() && price.per_call.is_none() {
            self.flaw(at, place, "has no rate", "at least `input`, or `per_call`");
        }
        self.rates(at, place, &rates);
        self.contexts(at, place, &price.context);
        if let Some(per_call) = price.per_call {
            self.fee(at, place, "per_call", per_call);
        }
        for (name, unit) in &price.units {
            self.fee(at, place, name, *unit);
            if !is_word(name) {
                self.flaw(at, place, format!("`{name}` is no name of a unit"), "such as `web_search`");
            }
        }
        if price.batch.is_some() && price.tiers.contains_key("batch") {
            self.flaw(at, place, "has `batch` and a tier `batch`", "they are the same: keep one");
        }
        let batch = price.batch.iter().map(|tier| ("batch", tier));
        for (name, tier) in price.tiers.iter().map(|(name, tier)| (name.as_str(), tier)).chain(batch) {
            self.tier(at, &format!("{place} tier {name}"), name, tier);
        }
        for (name, factor) in &price.multipliers {
            if !is_word(name) || PLAIN.contains(&name.as_str()) || price.tiers.contains_key(name) || name == "batch" {
                self.flaw(
                    at,
                    place,
                    format!("`{name}` cannot be a multiplier's word"),
                    "it is the plain tier's, or a tier's",
                );
            }
            if !factor.is_simple() {
                self.flaw(at, place, format!("the multiplier `{factor}` has more than 3 decimals"), "");
            }
        }
    }

    fn tier(&mut self, at: Option<usize>, place: &str, name: &str, tier: &TierEntry) {
        if !is_word(name) || PLAIN.contains(&name) {
            self.flaw(at, place, "is no name of a tier", "the plain rates are those of the price itself");
        }
        if tier.rates() == RateEntry::default() {
            self.flaw(at, place, "has no rate", "a tier has rates of its own; nothing is taken from the plain ones");
        }
        self.rates(at, place, &tier.rates());
        self.contexts(at, place, &tier.context);
    }

    fn contexts(&mut self, at: Option<usize>, place: &str, contexts: &[ContextEntry]) {
        let mut seen = BTreeSet::new();
        for context in contexts {
            let threshold = match (context.above, context.at_least) {
                (Some(above), None) => above.checked_add(1),
                (None, Some(at_least)) => Some(at_least),
                _ => None,
            };
            let Some(threshold) = threshold.filter(|threshold| (1..=100_000_000).contains(threshold)) else {
                let hint = "tokens of input; most providers mean `above`, xAI means `at_least`";
                self.flaw(at, place, "a context needs either `above` or `at_least`", hint);
                continue;
            };
            if !seen.insert(threshold) {
                self.flaw(at, place, format!("two contexts begin at {threshold} tokens"), "");
            }
            if context.rates() == RateEntry::default() {
                self.flaw(at, place, "a context has no rate", "its rates are for all tokens of the request");
            }
            self.rates(at, place, &context.rates());
        }
    }

    fn rates(&mut self, at: Option<usize>, place: &str, rates: &RateEntry) {
        let named = [
            ("input", rates.input),
            ("cache_read", rates.cache_read),
            ("cache_write", rates.cache_write),
            ("cache_write_1h", rates.cache_write_1h),
            ("output", rates.output),
            ("reasoning", rates.reasoning),
            ("audio_input", rates.audio_input),
            ("audio_output", rates.audio_output),
        ];
        for (name, rate) in named {
            let Some(rate) = rate else { continue };
            if rate > ABSURD {
                let problem = format!("`{name}` is {rate} US dollars for a million tokens");
                self.flaw(at, place, problem, "was it meant in cents, or for more tokens?");
            } else if rate > Amount::ZERO && rate < TINY {
                let problem = format!("`{name}` is {rate} US dollars for a million tokens");
                self.flaw(at, place, problem, "a price for one token or for a thousand is to be multiplied first");
            }
        }
        let below = |part: Option<Amount>| matches!((part, rates.input), (Some(part), Some(input)) if part > input);
        if below(rates.cache_read) {
            let hint = "leave it out where the model has no cache: it costs as plain input then";
            self.flaw(at, place, "reading from a cache costs more than plain input", hint);
        }
        for (name, rate) in [("cache_read", rates.cache_read), ("cache_write", rates.cache_write)] {
            if rate == Some(Amount::ZERO) && rates.input.is_some_and(|input| input > Amount::ZERO) {
                let hint = "leave it out where the model has no cache: it costs as plain input then";
                self.flaw(at, place, format!("`{name}` is free while plain input is not"), hint);
            }
        }
        if rates.input.is_none() && (rates.cache_read.is_some() || rates.cache_write.is_some()) {
            self.flaw(at, place, "has rates of a cache and none of plain input", "");
        }
    }
}

/// What is wrong with a price that stands alone.
pub(crate) fn check_price(price: &PriceEntry) -> Vec<Flaw> {
    let mut reader = Reader::new("");
    reader.price(None, "", price);
    reader.flaws
}

/// Words that providers, classes, tiers and units are called.
pub(super) fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || matches!(b, b'_' | b'.' | b'-'))
}

/// A model's name, or how names begin and `*`.
pub(crate) fn is_pattern(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    (1..=200).contains(&text.len())
        && !name.contains('*')
        && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}
