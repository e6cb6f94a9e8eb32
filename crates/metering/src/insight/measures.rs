use std::ops::AddAssign;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Usd;
use crate::money::percent;

/// Tokens by kind. `cache_read` and `cache_write` are parts of `input`, `reasoning` of `output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenSums)]
pub struct Tokens {
    /// All input.
    pub input: i64,
    /// All output.
    pub output: i64,
    /// Input read from a cache.
    pub cache_read: i64,
    /// Input written to a cache.
    pub cache_write: i64,
    /// Output that reasoned.
    pub reasoning: i64,
}

/// Sums over calls. Averages are derived from them, never stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"calls": 1200, "operations": 1180, "failed_calls": 14, "unpriced_calls": 0, "estimated_calls": 3,
    "unsettled_calls": 0, "cost_usd": "18.402311", "adjustments_usd": "-0.2", "failed_cost_usd": "0.01",
    "estimated_cost_usd": "0.004", "tokens": {"input": 2400000, "output": 310000, "cache_read": 900000, "cache_write": 40000,
    "reasoning": 12000}}))]
#[schema(as = CallSums)]
pub struct Measures {
    /// Attempts at a provider.
    pub calls: i64,
    /// First attempts: what was asked for, however often it was tried.
    pub operations: i64,
    /// Attempts that did not do what was asked.
    pub failed_calls: i64,
    /// Calls whose cost nobody knows, less those that an adjustment has priced since; in the period of such an adjustment it
    /// can be below zero.
    pub unpriced_calls: i64,
    /// Calls whose tokens were counted by us, because the provider did not say.
    pub estimated_calls: i64,
    /// Calls that were never seen to end, at the most that they can have cost.
    pub unsettled_calls: i64,
    /// What is known to have been spent, adjustments included.
    pub cost_usd: Usd,
    /// The part of it that adjusts earlier calls.
    pub adjustments_usd: Usd,
    /// The part of it that failed calls cost, with what these were adjusted by.
    pub failed_cost_usd: Usd,
    /// The part of it that rests on counts of ours: of estimated and of unsettled calls.
    pub estimated_cost_usd: Usd,
    /// Tokens by kind.
    pub tokens: Tokens,
}

impl AddAssign for Measures {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.operations += other.operations;
        self.failed_calls += other.failed_calls;
        self.unpriced_calls += other.unpriced_calls;
        self.estimated_calls += other.estimated_calls;
        self.unsettled_calls += other.unsettled_calls;
        self.cost_usd += other.cost_usd;
        self.adjustments_usd += other.adjustments_usd;
        self.failed_cost_usd += other.failed_cost_usd;
        self.estimated_cost_usd += other.estimated_cost_usd;
        self.tokens.input += other.tokens.input;
        self.tokens.output += other.tokens.output;
        self.tokens.cache_read += other.tokens.cache_read;
        self.tokens.cache_write += other.tokens.cache_write;
        self.tokens.reasoning += other.tokens.reasoning;
    }
}

impl std::iter::Sum for Measures {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl Measures {
    /// What is left without a part.
    #[must_use]
    pub fn less(&self, part: &Self) -> Self {
        Self {
            calls: self.calls - part.calls,
            operations: self.operations - part.operations,
            failed_calls: self.failed_calls - part.failed_calls,
            unpriced_calls: self.unpriced_calls - part.unpriced_calls,
            estimated_calls: self.estimated_calls - part.estimated_calls,
            unsettled_calls: self.unsettled_calls - part.unsettled_calls,
            cost_usd: self.cost_usd - part.cost_usd,
            adjustments_usd: self.adjustments_usd - part.adjustments_usd,
            failed_cost_usd: self.failed_cost_usd - part.failed_cost_usd,
            estimated_cost_usd: self.estimated_cost_usd - part.estimated_cost_usd,
            tokens: Tokens {
                input: self.tokens.input - part.tokens.input,
                output: self.tokens.output - part.tokens.output,
                cache_read: self.tokens.cache_read - part.tokens.cache_read,
                cache_write: self.tokens.cache_write - part.tokens.cache_write,
                reasoning: self.tokens.reasoning - part.tokens.reasoning,
            },
        }
    }

    /// How far the sums can be trusted.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let unpriced = self.unpriced_calls.clamp(0, self.calls);
        let open = (unpriced + self.estimated_calls + self.unsettled_calls).min(self.calls);
        Coverage {
            total_calls: self.calls,
            priced: self.calls - unpriced,
            unpriced,
            estimated: self.estimated_calls,
            unsettled: self.unsettled_calls,
            percent_final: percent(Decimal::from(self.calls - open), Decimal::from(self.calls)),
        }
    }
}

/// How far a sum can be trusted: of how many calls the cost is known, and how well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"total_calls": 1200, "priced": 1198, "unpriced": 2, "estimated": 3, "unsettled": 0, "percent_final": 99.58}))]
#[schema(as = CallCoverage)]
pub struct Coverage {
    /// All calls.
    pub total_calls: i64,
    /// With a known cost.
    pub priced: i64,
    /// Without one: they count nothing, so what was spent is more than is shown.
    pub unpriced: i64,
    /// With tokens that were estimated.
    pub estimated: i64,
    /// Never seen to end.
    pub unsettled: i64,
    /// Calls that are none of the three, in percent of all; a call that is two of them counts twice, so it is rather too low.
    /// Null without calls.
    #[schema(required)]
    pub percent_final: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_never_more_than_everything() {
        let of = |calls, unpriced_calls, estimated_calls| {
            Measures { calls, unpriced_calls, estimated_calls, ..Measures::default() }.coverage()
        };
        assert_eq!(of(0, 0, 0).percent_final, None);
        assert_eq!(of(4, 1, 1).percent_final, Some(50.0));
        assert_eq!((of(2, 2, 2).percent_final, of(2, 2, 2).priced), (Some(0.0), 0));
        assert_eq!((of(2, -3, 0).unpriced, of(2, -3, 0).priced), (0, 2), "an adjustment of another period's call");
    }
}
