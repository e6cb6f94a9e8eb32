//! Savings: what calls cost against what the same calls would have cost elsewhere.
//!
//! Both sides are sums over the same calls, those that have a baseline. The baseline of a call was computed when it was recorded, from
//! its own tokens and the prices of that moment, and is stored with it; nothing here is computed from tokens that were added up.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Usd;
use crate::money::percent;

/// The bounds of the columns `savings_percent` and `optimal_routing_percent`.
const PERCENT_BOUND: i64 = 99_999;

/// Sums over the calls of a group, and over those of them that have baselines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Covered {
    /// All calls.
    pub calls: i64,
    /// All that was spent, adjustments included.
    pub cost_usd: Usd,
    /// Calls with a baseline.
    pub covered_calls: i64,
    /// What these cost.
    pub covered_cost_usd: Usd,
    /// What these would have cost on the dearest model of the catalogue.
    pub list_baseline_usd: Usd,
    /// What these would have cost on the dearest model of the same class.
    pub like_baseline_usd: Usd,
    /// Calls for which no model of the same class would have been cheaper.
    pub optimal_calls: i64,
}

/// A baseline, and what was saved against it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"baseline_cost_usd": "40.25", "savings_usd": "21.847689", "savings_percent": 54.28}))]
#[schema(as = RoiBaseline)]
pub struct Baseline {
    /// What the calls would have cost.
    pub baseline_cost_usd: Usd,
    /// The baseline less what they cost; below zero when they cost more.
    pub savings_usd: Usd,
    /// The savings in percent of the baseline; null where the baseline is zero.
    #[schema(required)]
    pub savings_percent: Option<f64>,
}

impl Baseline {
    fn new(baseline: Usd, actual: Usd) -> Self {
        let savings = baseline - actual;
        Self { baseline_cost_usd: baseline, savings_usd: savings, savings_percent: percent(savings.0, baseline.0) }
    }
}

/// What calls cost against what they would have cost elsewhere. Signed: a choice of models can lose money.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Roi {
    /// What the calls with a baseline cost.
    pub actual_cost_usd: Usd,
    /// What the same calls would have cost on the dearest model of the catalogue.
    pub baseline_cost_usd: Usd,
    /// The baseline less the actual cost.
    pub savings_usd: Usd,
    /// The savings in percent of the baseline; null where the baseline is zero.
    #[schema(required)]
    pub savings_percent: Option<f64>,
    /// The same against the dearest model of the class of each call's own model, with the same state of the cache.
    pub like_for_like: Baseline,
    /// Calls for which no model of the same class would have been cheaper, in percent of those with a baseline; null without any.
    #[schema(required)]
    pub optimal_routing_percent: Option<f64>,
    /// All that was spent, also by calls without a baseline and by adjustments.
    pub total_cost_usd: Usd,
    /// All calls.
    pub total_calls: i64,
    /// Calls with a baseline.
    pub covered_calls: i64,
    /// Calls with a baseline, in percent of all; null without calls.
    #[schema(required)]
    pub covered_percent: Option<f64>,
}

impl Covered {
    /// The savings.
    #[must_use]
    pub fn roi(&self) -> Roi {
        let list = Baseline::new(self.list_baseline_usd, self.covered_cost_usd);
        let covered = Decimal::from(self.covered_calls);
        Roi {
            actual_cost_usd: self.covered_cost_usd,
            baseline_cost_usd: list.baseline_cost_usd,
            savings_usd: list.savings_usd,
            savings_percent: list.savings_percent,
            like_for_like: Baseline::new(self.like_baseline_usd, self.covered_cost_usd),
            optimal_routing_percent: percent(Decimal::from(self.optimal_calls), covered),
            total_cost_usd: self.cost_usd,
            total_calls: self.calls,
            covered_calls: self.covered_calls,
            covered_percent: percent(covered, Decimal::from(self.calls)),
        }
    }
}

/// A calculation as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"id": "0b7e9f5c-6a1d-8c2e-9f00-3a4b5c6d7e8f", "period_start": "2026-10-31T18:30:00Z",
    "period_end": "2026-11-30T18:30:00Z", "actual_cost_usd": "18.402311", "baseline_cost_usd": "40.25", "savings_usd": "21.847689",
    "savings_percent": 54.28, "tasks_completed": 310, "optimal_routing_percent": 71.5, "calculated_at": "2026-12-01T06:00:00Z"}))]
pub struct RoiCalculation {
    /// Names it; the same figures of the same period have the same id.
    pub id: Uuid,
    /// The first instant of the period.
    pub period_start: DateTime<Utc>,
    /// The first instant after it.
    pub period_end: DateTime<Utc>,
    /// What the calls with a baseline cost.
    pub actual_cost_usd: Usd,
    /// What they would have cost on the dearest model of the catalogue.
    pub baseline_cost_usd: Usd,
    /// The baseline less the actual cost.
    pub savings_usd: Usd,
    /// In percent of the baseline, at least -99999 and at most 99999.
    pub savings_percent: f64,
    /// Tasks completed in the period.
    pub tasks_completed: i64,
    /// Calls for which no model of the same class would have been cheaper, in percent.
    pub optimal_routing_percent: f64,
    /// When it was calculated first.
    pub calculated_at: DateTime<Utc>,
}

impl RoiCalculation {
    /// A calculation to store; `None` where no call has a baseline, or the baseline is zero: there is nothing to compare then.
    ///
    /// The id is made of the figures, so that calculating the same again stores nothing new.
    #[must_use]
    pub fn new(
        roi: &Roi,
        tasks_completed: i64,
        (period_start, period_end): (DateTime<Utc>, DateTime<Utc>),
        tenant: Uuid,
        calculated_at: DateTime<Utc>,
    ) -> Option<Self> {
        let bound = f64::from(i32::try_from(PERCENT_BOUND).unwrap_or(i32::MAX));
        let savings_percent = roi.savings_percent?.clamp(-bound, bound);
        let optimal_routing_percent = roi.optimal_routing_percent?;
        let figures = format!(
            "{tenant} {period_start} {period_end} {} {} {tasks_completed} {optimal_routing_percent}",
            roi.actual_cost_usd, roi.baseline_cost_usd
        );
        Some(Self {
            id: id_of(&figures),
            period_start,
            period_end,
            actual_cost_usd: roi.actual_cost_usd,
            baseline_cost_usd: roi.baseline_cost_usd,
            savings_usd: roi.savings_usd,
            savings_percent,
            tasks_completed,
            optimal_routing_percent,
            calculated_at,
        })
    }
}

/// An id made of a text (RFC 9562, version 8).
fn id_of(text: &str) -> Uuid {
    use sha2::{Digest as _, Sha256};
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        Usd(text.parse().unwrap())
    }

    fn covered() -> Covered {
        Covered {
            calls: 10,
            cost_usd: usd("3.5"),
            covered_calls: 8,
            covered_cost_usd: usd("3"),
            list_baseline_usd: usd("12"),
            like_baseline_usd: usd("2.5"),
            optimal_calls: 6,
        }
    }

    #[test]
    fn savings_are_signed_and_say_what_they_cover() {
        let roi = covered().roi();
        assert_eq!((roi.savings_usd, roi.savings_percent), (usd("9"), Some(75.0)));
        assert_eq!((roi.like_for_like.savings_usd, roi.like_for_like.savings_percent), (usd("-0.5"), Some(-20.0)));
        assert_eq!((roi.optimal_routing_percent, roi.covered_percent), (Some(75.0), Some(80.0)));
        let nothing = Covered::default().roi();
        assert_eq!(
            (nothing.savings_percent, nothing.optimal_routing_percent, nothing.covered_percent),
            (None, None, None)
        );
    }

    #[test]
    fn the_same_figures_are_the_same_calculation() {
        let (start, end) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + chrono::TimeDelta::days(30));
        let of = |covered: Covered, tenant, at| RoiCalculation::new(&covered.roi(), 3, (start, end), tenant, at);
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = |calculation: Option<RoiCalculation>| calculation.unwrap().id;
        let first = id(of(covered(), one, start));
        assert_eq!(first, id(of(covered(), one, end)));
        assert_ne!(first, id(of(covered(), two, start)));
        assert_ne!(first, id(of(Covered { covered_cost_usd: usd("4"), ..covered() }, one, start)));
        assert!(of(Covered { list_baseline_usd: Usd::ZERO, ..covered() }, one, start).is_none());
        let ruin = Covered { list_baseline_usd: usd("0.000001"), ..covered() };
        assert!((of(ruin, one, start).unwrap().savings_percent + 99_999.0).abs() < f64::EPSILON);
    }
}
