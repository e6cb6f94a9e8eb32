//! Why costs changed between two periods, A and B: terms that add up to the difference, to the last digit.
//!
//! A group is a model of a provider. `n` are its successful calls, `N` what they cost (its cost without failed calls and without
//! adjustments), `T` its tokens by kind, `S(T)` what tokens cost at the rates of A's end.
//!
//! * *adjustments*: the change of what earlier calls were adjusted by.
//! * *waste*: the change of what failed calls cost; a call that was tried again is among them.
//! * *volume*: `N_A · (n_B / n_A − 1)` over all groups together: more calls, each as dear as in A.
//! * *mix*: what the same number of calls costs because other models answered: the sum of `n_B · N_A / n_A` of each group that was
//!   there in A, and of `N_B` of each that was not, less `N_A · n_B / n_A` of all together.
//! * *size*: calls with more or fewer tokens, at A's prices and with A's shares of cached input: `λ · (S(T_B with A's shares) − n_B / n_A · S(T_A))` of
//!   each group, where `λ = N_A / S(T_A)` is what A paid of the rates.
//! * *cache*: the change of the shares of input that was read from a cache or written to one: `λ · (S(T_B) − S(T_B with A's shares))`.
//! * *price*: what is left, which is `N_B − λ · S(T_B)` of each group: other rates for the same tokens.
//!
//! An adjustment of a failed call is in *waste* and in *adjustments*, and *price* takes it back.
//!
//! Without rates for a group, all its tokens count alike and its cache has no term of its own: that is in *price* then. Quotients are
//! rounded to twelve decimals, as amounts are stored, and *price* takes what the rounding leaves.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Tokens;
use crate::Usd;

/// A provider and one of its models.
type Model = (String, String);

/// What a token costs, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Input that no cache has to do with.
    pub input: Decimal,
    /// Input read from a cache.
    pub cache_read: Decimal,
    /// Input written to one.
    pub cache_write: Decimal,
    /// Output.
    pub output: Decimal,
    /// Output that reasons.
    pub reasoning: Decimal,
}

impl Rates {
    /// All tokens alike.
    const ALIKE: Self = Self {
        input: Decimal::ONE,
        cache_read: Decimal::ONE,
        cache_write: Decimal::ONE,
        output: Decimal::ONE,
        reasoning: Decimal::ONE,
    };

    fn cost(&self, parts: &Parts) -> Decimal {
        self.input * parts.input
            + self.cache_read * parts.cache_read
            + self.cache_write * parts.cache_write
            + self.output * parts.output
            + self.reasoning * parts.reasoning
    }
}

/// Tokens in kinds that do not overlap.
struct Parts {
    input: Decimal,
    cache_read: Decimal,
    cache_write: Decimal,
    output: Decimal,
    reasoning: Decimal,
}

impl Parts {
    fn of(tokens: &Tokens) -> Self {
        Self {
            input: Decimal::from(tokens.input - tokens.cache_read - tokens.cache_write),
            cache_read: Decimal::from(tokens.cache_read),
            cache_write: Decimal::from(tokens.cache_write),
            output: Decimal::from(tokens.output - tokens.reasoning),
            reasoning: Decimal::from(tokens.reasoning),
        }
    }

    /// The tokens, with another's shares of cached input.
    fn with_shares_of(tokens: &Tokens, other: &Tokens) -> Self {
        let all = Decimal::from(tokens.input);
        let part = |cached: i64| times(all, Decimal::from(cached), Decimal::from(other.input));
        let (cache_read, cache_write) = (part(other.cache_read), part(other.cache_write));
        Self { input: all - cache_read - cache_write, cache_read, cache_write, ..Self::of(tokens) }
    }
}

/// `amount · by / of`; nothing of nothing.
fn times(amount: Decimal, by: Decimal, of: Decimal) -> Decimal {
    amount.checked_mul(by).and_then(|product| product.checked_div(of)).unwrap_or_default().round_dp(12)
}

/// The sums of a group in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupSums {
    /// Successful calls.
    pub calls: i64,
    /// What they cost.
    pub cost_usd: Usd,
    /// Tokens by kind.
    pub tokens: Tokens,
}

/// A period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// By provider and model.
    pub groups: BTreeMap<Model, GroupSums>,
    /// What failed calls cost.
    pub waste_usd: Usd,
    /// What earlier calls were adjusted by.
    pub adjustments_usd: Usd,
}

impl Side {
    fn calls(&self) -> Decimal {
        Decimal::from(self.groups.values().map(|group| group.calls).sum::<i64>())
    }

    fn useful(&self) -> Decimal {
        self.groups.values().map(|group| group.cost_usd.0).sum()
    }

    /// All that was spent.
    #[must_use]
    pub fn cost_usd(&self) -> Usd {
        Usd(self.useful()) + self.waste_usd + self.adjustments_usd
    }
}

/// Why costs changed. The terms add up to `change_usd` to the last digit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"change_usd": "4.2", "volume_usd": "3.1", "mix_usd": "0.9", "size_usd": "0.6", "cache_usd": "-0.75",
    "price_usd": "0", "waste_usd": "0.25", "adjustments_usd": "0.1"}))]
#[schema(as = CostBridge)]
pub struct Bridge {
    /// The later period's cost less the earlier one's.
    pub change_usd: Usd,
    /// More or fewer calls, each as dear as before on average.
    pub volume_usd: Usd,
    /// Dearer or cheaper models, for as many calls.
    pub mix_usd: Usd,
    /// More or fewer tokens a call.
    pub size_usd: Usd,
    /// More or less of the input from a cache, or written to one.
    pub cache_usd: Usd,
    /// Other prices for the same tokens.
    pub price_usd: Usd,
    /// More or less spent on failed calls.
    pub waste_usd: Usd,
    /// More or less by adjustments of earlier calls.
    pub adjustments_usd: Usd,
}

impl Bridge {
    /// The sum of the terms.
    #[must_use]
    pub fn terms(&self) -> Usd {
        self.volume_usd
            + self.mix_usd
            + self.size_usd
            + self.cache_usd
            + self.price_usd
            + self.waste_usd
            + self.adjustments_usd
    }
}

/// From a period to a later one. `rates` are those of a provider's model at the end of the earlier one.
#[must_use]
pub fn bridge(earlier: &Side, later: &Side, rates: impl Fn(&str, &str) -> Option<Rates>) -> Bridge {
    let (calls_before, calls_after) = (earlier.calls(), later.calls());
    let (before, after) = (earlier.useful(), later.useful());
    let scaled = times(before, calls_after, calls_before);
    // where nothing was called before, all is volume
    let volume = if calls_before.is_zero() { after - before } else { scaled - before };
    let mut mix = if calls_before.is_zero() { Decimal::ZERO } else { -scaled };
    let (mut size, mut cache) = (Decimal::ZERO, Decimal::ZERO);
    for (model, now) in &later.groups {
        let Some(then) = earlier.groups.get(model).filter(|then| then.calls > 0) else {
            if !calls_before.is_zero() {
                mix += now.cost_usd.0;
            }
            continue;
        };
        let (n_then, n_now) = (Decimal::from(then.calls), Decimal::from(now.calls));
        mix += times(then.cost_usd.0, n_now, n_then);
        let known = rates(&model.0, &model.1);
        let rates = known.unwrap_or(Rates::ALIKE);
        let standard = rates.cost(&Parts::of(&then.tokens));
        if standard <= Decimal::ZERO {
            continue;
        }
        let paid = |amount: Decimal| times(amount, then.cost_usd.0, standard);
        let as_before = paid(rates.cost(&Parts::with_shares_of(&now.tokens, &then.tokens)));
        size += as_before - times(then.cost_usd.0, n_now, n_then);
        if known.is_some() {
            cache += paid(rates.cost(&Parts::of(&now.tokens))) - as_before;
        }
    }
    let waste = later.waste_usd - earlier.waste_usd;
    let adjustments = later.adjustments_usd - earlier.adjustments_usd;
    Bridge {
        change_usd: later.cost_usd() - earlier.cost_usd(),
        volume_usd: Usd(volume),
        mix_usd: Usd(mix),
        size_usd: Usd(size),
        cache_usd: Usd(cache),
        price_usd: Usd(after - before - volume - mix - size - cache),
        waste_usd: waste,
        adjustments_usd: adjustments,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: Rates = Rates {
        input: Decimal::from_parts(3, 0, 0, false, 6),
        cache_read: Decimal::from_parts(3, 0, 0, false, 7),
        cache_write: Decimal::from_parts(375, 0, 0, false, 8),
        output: Decimal::from_parts(15, 0, 0, false, 6),
        reasoning: Decimal::from_parts(15, 0, 0, false, 6),
    };

    fn known(_: &str, _: &str) -> Option<Rates> {
        Some(RATES)
    }

    fn model(name: &str) -> Model {
        ("p".to_owned(), name.to_owned())
    }

    fn tokens(input: i64, output: i64, cache_read: i64) -> Tokens {
        Tokens { input, output, cache_read, cache_write: 0, reasoning: 0 }
    }

    /// Calls that cost what the rates say, times a factor.
    fn at_rates(calls: i64, tokens: Tokens, factor: i64) -> GroupSums {
        let cost = RATES.cost(&Parts::of(&tokens)) * Decimal::from(factor);
        GroupSums { calls, cost_usd: Usd(cost), tokens }
    }

    fn side(groups: &[(&str, GroupSums)]) -> Side {
        let groups = groups.iter().map(|(name, group)| (model(name), *group)).collect();
        Side { groups, ..Side::default() }
    }

    /// The terms that are not nothing, rounding aside.
    fn terms(bridge: &Bridge) -> Vec<&'static str> {
        assert_eq!(bridge.terms(), bridge.change_usd);
        let near = Decimal::new(1, 9);
        let all = [
            ("volume", bridge.volume_usd),
            ("mix", bridge.mix_usd),
            ("size", bridge.size_usd),
            ("cache", bridge.cache_usd),
            ("price", bridge.price_usd),
            ("waste", bridge.waste_usd),
            ("adjustments", bridge.adjustments_usd),
        ];
        all.into_iter().filter(|(_, amount)| amount.0.abs() > near).map(|(name, _)| name).collect()
    }

    #[test]
    fn each_cause_alone_is_its_own_term() {
        let base =
            side(&[("m", at_rates(10, tokens(1000, 100, 200), 1)), ("d", at_rates(10, tokens(1000, 100, 200), 5))]);
        let only = |later: &Side| terms(&bridge(&base, later, known));
        let more =
            side(&[("m", at_rates(20, tokens(2000, 200, 400), 1)), ("d", at_rates(20, tokens(2000, 200, 400), 5))]);
        assert_eq!(only(&more), ["volume"]);
        let dearer =
            side(&[("m", at_rates(5, tokens(500, 50, 100), 1)), ("d", at_rates(15, tokens(1500, 150, 300), 5))]);
        assert_eq!(only(&dearer), ["mix"]);
        let longer =
            side(&[("m", at_rates(10, tokens(3000, 300, 600), 1)), ("d", at_rates(10, tokens(1000, 100, 200), 5))]);
        assert_eq!(only(&longer), ["size"]);
        let cached =
            side(&[("m", at_rates(10, tokens(1000, 100, 900), 1)), ("d", at_rates(10, tokens(1000, 100, 200), 5))]);
        assert_eq!(only(&cached), ["cache"]);
        assert!(bridge(&base, &cached, known).cache_usd < Usd::ZERO);
        let raised =
            side(&[("m", at_rates(10, tokens(1000, 100, 200), 2)), ("d", at_rates(10, tokens(1000, 100, 200), 5))]);
        assert_eq!(only(&raised), ["price"]);
        let wasted = Side { waste_usd: Usd(Decimal::ONE), ..base.clone() };
        assert_eq!(only(&wasted), ["waste"]);
        let adjusted = Side { adjustments_usd: Usd(-Decimal::ONE), ..base.clone() };
        assert_eq!(only(&adjusted), ["adjustments"]);
        assert_eq!(only(&base), Vec::<&str>::new());
    }

    #[test]
    fn from_nothing_and_to_nothing_is_volume() {
        let some = side(&[("m", at_rates(10, tokens(1000, 100, 200), 1))]);
        assert_eq!(terms(&bridge(&Side::default(), &some, known)), ["volume"]);
        assert_eq!(terms(&bridge(&some, &Side::default(), known)), ["volume"]);
    }

    #[test]
    fn without_rates_the_cache_has_no_term() {
        let base = side(&[("m", at_rates(10, tokens(1000, 100, 200), 1))]);
        let cached = side(&[("m", at_rates(10, tokens(1000, 100, 900), 1))]);
        assert_eq!(terms(&bridge(&base, &cached, |_, _| None)), ["price"]);
    }

    prop_compose! {
        fn any_group()(calls in 0_i64..1000, cost in -1_000_000_i64..10_000_000_000, input in 0_i64..10_000_000, output in 0_i64..1_000_000,
                       read in 0_i64..100, write in 0_i64..100, reasoning in 0_i64..100) -> GroupSums {
            let tokens = Tokens {
                input, output, cache_read: input * read / 200, cache_write: input * write / 200, reasoning: output * reasoning / 100,
            };
            GroupSums { calls, cost_usd: Usd(Decimal::new(cost, 12)), tokens }
        }
    }

    prop_compose! {
        fn any_side()(groups in prop::collection::btree_map("[abc]", any_group(), 0..4), waste in 0_i64..1_000_000_000, adjustments in any::<i32>()) -> Side {
            Side {
                groups: groups.into_iter().map(|(name, group)| (model(&name), group)).collect(),
                waste_usd: Usd(Decimal::new(waste, 12)),
                adjustments_usd: Usd(Decimal::new(i64::from(adjustments), 12)),
            }
        }
    }

    proptest! {
        #[test]
        fn the_terms_add_up_to_the_last_digit(earlier in any_side(), later in any_side(), rates in any::<bool>()) {
            let bridge = bridge(&earlier, &later, |_, _| rates.then_some(RATES));
            prop_assert_eq!(bridge.terms(), bridge.change_usd);
            prop_assert_eq!(bridge.change_usd, later.cost_usd() - earlier.cost_usd());
            prop_assert!(bridge.price_usd.0.scale() <= 12);
        }
    }
}
