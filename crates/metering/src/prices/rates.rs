//! Rates of one price in one tier, and what they make of tokens.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::amount::{Amount, Factor};
use super::entry::RateEntry;
use crate::usage::Usage;

/// Costs are computed in millionths of a millionth of a dollar: twelve decimals.
const SCALE: u32 = 12;
/// From millionths of a dollar, which is what calls and units are priced in.
const MICRO: i128 = 1_000_000;
/// What `numeric(24,12)` can hold.
const MOST: i128 = 10_i128.pow(24);

/// Names of the buckets of tokens, as prices and frozen rates write them.
pub(super) const BUCKETS: [&str; 8] =
    ["input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "output", "reasoning", "audio_output"];

/// So many of them are input.
const INPUTS: usize = 5;

/// The buckets that are not empty, by their places in [`BUCKETS`].
#[derive(Debug)]
pub(super) struct Counts {
    filled: [(usize, u64); 8],
    len: usize,
}

impl Counts {
    pub(super) fn of(usage: &Usage) -> Self {
        Self::from([
            usage.input,
            usage.cache_read,
            usage.cache_write,
            usage.cache_write_1h,
            usage.audio_input,
            usage.output,
            usage.reasoning,
            usage.audio_output,
        ])
    }

    /// The same as if nothing came from a cache or went to one.
    pub(super) fn uncached(usage: &Usage) -> Self {
        let plain = usage.tokens_input() - usage.audio_input;
        Self::from([plain, 0, 0, 0, usage.audio_input, usage.output, usage.reasoning, usage.audio_output])
    }

    fn from(counts: [u64; 8]) -> Self {
        let mut all = Self { filled: [(0, 0); 8], len: 0 };
        for (place, count) in counts.into_iter().enumerate() {
            if count > 0 {
                all.filled[all.len] = (place, count);
                all.len += 1;
            }
        }
        all
    }

    fn filled(&self) -> &[(usize, u64)] {
        &self.filled[..self.len]
    }
}

/// A rate for each bucket, in the order of [`BUCKETS`]; what has none cannot be priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rates([Option<Amount>; 8]);

impl Rates {
    /// Fills the gaps: what is not known is never free. A cache's read or write without a rate of its own costs what plain input
    /// does, one for an hour what a shorter one does; reasoning costs what output does. Sound has no stand-in.
    pub(super) fn of(entry: &RateEntry) -> Self {
        let write = entry.cache_write.or(entry.input);
        Self([
            entry.input,
            entry.cache_read.or(entry.input),
            write,
            entry.cache_write_1h.or(write),
            entry.audio_input,
            entry.output,
            entry.reasoning.or(entry.output),
            entry.audio_output,
        ])
    }

    /// So much input and so much output as it would be dearest. What has no rate is left out; `None` when it writes, and nothing bounds
    /// how much.
    pub(super) fn dearest(&self, input: u64, output: Option<u64>) -> Option<Usage> {
        let (inputs, outputs) = self.0.split_at(INPUTS);
        let mut counts = [0; BUCKETS.len()];
        if let Some(place) = dearest(inputs) {
            counts[place] = input;
        }
        if let Some(place) = dearest(outputs) {
            counts[INPUTS + place] = output?;
        }
        let [input, cache_read, cache_write, cache_write_1h, audio_input, output, reasoning, audio_output] = counts;
        Some(Usage {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            audio_input,
            output,
            reasoning,
            audio_output,
            ..Usage::default()
        })
    }

    /// Whether it makes text at all.
    pub(super) const fn makes_text(&self) -> bool {
        self.0[5].is_some()
    }

    /// What tokens cost; `None` when a bucket that is not empty has no rate.
    pub(super) fn of_tokens(&self, counts: &Counts) -> Option<i128> {
        // a count below 2^64 times a rate below 2^34, eight times, is below 2^101
        counts.filled().iter().try_fold(0_i128, |sum, (place, count)| {
            Some(sum + i128::from(*count) * i128::from(self.0[*place]?.micros()))
        })
    }

    /// The first bucket that is not empty and has no rate.
    pub(super) fn gap(&self, counts: &Counts) -> Option<&'static str> {
        counts.filled().iter().find(|(place, _)| self.0[*place].is_none()).map(|(place, _)| BUCKETS[*place])
    }

    fn written(&self) -> Map<String, Value> {
        let known = BUCKETS.iter().zip(&self.0).filter_map(|(name, rate)| Some((*name, (*rate)?)));
        known.map(|(name, rate)| (name.to_owned(), Value::String(rate.to_string()))).collect()
    }
}

/// The place of the dearest rate; of several the first, which is the plain one.
fn dearest(rates: &[Option<Amount>]) -> Option<usize> {
    let known = rates.iter().enumerate().rev().filter_map(|(place, rate)| Some((place, (*rate)?)));
    known.max_by_key(|(_, rate)| *rate).map(|(place, _)| place)
}

/// What a call and units cost, beside tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fees {
    pub(super) per_call: Amount,
    pub(super) units: BTreeMap<String, Amount>,
}

impl Fees {
    /// `None` when a unit that was used has no price; `else_units` are looked at then.
    pub(super) fn of(&self, usage: &Usage, else_units: Option<&Self>) -> Option<i128> {
        let mut sum = i128::from(self.per_call.micros()) * MICRO;
        for (name, count) in &usage.units {
            if *count > 0 {
                let other = || else_units.and_then(|other| other.units.get(name));
                let price = self.units.get(name).or_else(other)?;
                let part = i128::from(*count).checked_mul(i128::from(price.micros()))?.checked_mul(MICRO)?;
                sum = sum.checked_add(part)?;
            }
        }
        Some(sum)
    }

    /// The first unit that was used and has no price.
    pub(super) fn gap<'u>(&self, usage: &'u Usage) -> Option<&'u str> {
        let used = usage.units.iter().find(|(name, count)| **count > 0 && !self.units.contains_key(*name));
        used.map(|(name, _)| name.as_str())
    }
}

/// Rates with all that goes with them, as they are frozen on a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sheet {
    pub(super) rates: Rates,
    pub(super) fees: Fees,
    frozen: Value,
}

impl Sheet {
    /// `marks` say which part of a price these are: a tier, a context.
    pub(super) fn new(rates: Rates, fees: Fees, marks: &[(&str, Value)]) -> Self {
        let mut frozen = rates.written();
        if fees.per_call > Amount::ZERO {
            frozen.insert("per_call".into(), Value::String(fees.per_call.to_string()));
        }
        if !fees.units.is_empty() {
            let units = fees.units.iter().map(|(name, price)| (name.clone(), Value::String(price.to_string())));
            frozen.insert("units".into(), Value::Object(units.collect()));
        }
        frozen.extend(marks.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Self { rates, fees, frozen: Value::Object(frozen) }
    }

    /// What usage costs, in millionths of a millionth of a dollar.
    pub(super) fn cost(&self, usage: &Usage, factor: Factor) -> Option<i128> {
        let tokens = self.rates.of_tokens(&Counts::of(usage))?;
        let tokens = if factor.is_one() { tokens } else { factor.of(tokens)? };
        tokens.checked_add(self.fees.of(usage, None)?).filter(|cost| *cost < MOST)
    }

    /// What is frozen on a call that was priced with these rates.
    pub(super) fn frozen(&self, factor: Factor) -> Value {
        let mut frozen = self.frozen.clone();
        if !factor.is_one()
            && let Value::Object(members) = &mut frozen
        {
            members.insert("multiplier".into(), Value::String(factor.to_string()));
        }
        frozen
    }
}

/// An amount of dollars with twelve decimals.
pub(super) fn dollars(cost: i128) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(cost, SCALE).ok()
}

/// Why a cost cannot be computed from frozen rates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecomputeError {
    /// They are no rates that this program has written.
    #[error("the rates cannot be read: {0}")]
    Unreadable(String),
    /// They do not cover what was used.
    #[error("the rates have nothing for `{0}`")]
    NotCovered(String),
    /// The product cannot be represented.
    #[error("the cost is beyond all bounds")]
    TooLarge,
}

#[derive(Deserialize)]
struct Frozen {
    #[serde(flatten)]
    rates: RateEntry,
    per_call: Option<Amount>,
    #[serde(default)]
    units: BTreeMap<String, Amount>,
    multiplier: Option<Factor>,
}

/// The cost of a call from what its row holds, `rates` and `usage`, and nothing else: whatever becomes of catalogues, it is the
/// `cost_usd` that was recorded with them.
///
/// # Errors
/// [`RecomputeError`]; never for a row that was priced with these rates.
pub fn recompute(rates: &Value, usage: &Usage) -> Result<Decimal, RecomputeError> {
    let frozen = Frozen::deserialize(rates).map_err(|error| RecomputeError::Unreadable(error.to_string()))?;
    let fees = Fees { per_call: frozen.per_call.unwrap_or_default(), units: frozen.units };
    let sheet = Sheet::new(Rates::of(&frozen.rates), fees, &[]);
    if let Some(bucket) = sheet.rates.gap(&Counts::of(usage)) {
        return Err(RecomputeError::NotCovered(bucket.to_owned()));
    }
    if let Some(unit) = sheet.fees.gap(usage) {
        return Err(RecomputeError::NotCovered(unit.to_owned()));
    }
    let cost = sheet.cost(usage, frozen.multiplier.unwrap_or(Factor::ONE));
    cost.and_then(dollars).ok_or(RecomputeError::TooLarge)
}
