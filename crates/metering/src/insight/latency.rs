//! Percentiles of latencies from histograms, which can be added up, unlike percentiles.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::share;

/// The upper bounds of the buckets, as `analytics.latency_bounds()` has them; one bucket more is for everything above.
pub const LATENCY_BOUNDS_MS: [i32; 31] = [
    5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 4000, 5000, 7500, 10_000, 15_000, 20_000,
    30_000, 45_000, 60_000, 90_000, 120_000, 180_000, 300_000, 600_000,
];

/// A percentile of a histogram, in milliseconds: within its bucket as if the calls lay evenly in it. Above the last bound it is the
/// last bound. `None` of nothing.
#[must_use]
pub fn percentile(histogram: &[i64], percent: u32) -> Option<f64> {
    let total: i64 = histogram.iter().sum();
    if total <= 0 {
        return None;
    }
    // of 100 calls the 95th is the 95th percentile; counted in hundredths of a call
    let rank = (i128::from(total) * i128::from(percent)).max(100);
    let mut below = 0_i128;
    for (bucket, count) in histogram.iter().enumerate() {
        let count = i128::from(*count) * 100;
        if count > 0 && below + count >= rank {
            let upper = f64::from(*LATENCY_BOUNDS_MS.get(bucket).unwrap_or(&LATENCY_BOUNDS_MS[30]));
            let lower = match bucket {
                0 => 0.0,
                _ => f64::from(*LATENCY_BOUNDS_MS.get(bucket - 1).unwrap_or(&LATENCY_BOUNDS_MS[30])),
            };
            let part = share(Decimal::from(rank - below), Decimal::from(count), 6).unwrap_or(1.0);
            return Some(((lower + (upper - lower) * part) * 10.0).round() / 10.0);
        }
        below += count;
    }
    None
}

/// How long calls took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"mean_ms": 812.4, "p50_ms": 640.0, "p90_ms": 1480.0, "p95_ms": 2210.0, "p99_ms": 6100.0}))]
pub struct Latency {
    /// On average, exactly; null without calls, as all of these.
    #[schema(required)]
    pub mean_ms: Option<f64>,
    /// Half of the calls took at most this long. From a histogram, so within the width of a bucket.
    #[schema(required)]
    pub p50_ms: Option<f64>,
    /// Nine of ten.
    #[schema(required)]
    pub p90_ms: Option<f64>,
    /// Nineteen of twenty.
    #[schema(required)]
    pub p95_ms: Option<f64>,
    /// Ninety-nine of a hundred. The last bucket is open: 600000 says that it was ten minutes or more.
    #[schema(required)]
    pub p99_ms: Option<f64>,
}

impl Latency {
    /// From a sum over so many calls and their histogram.
    #[must_use]
    pub fn of(total_ms: i64, calls: i64, histogram: &[i64]) -> Self {
        Self {
            mean_ms: share(Decimal::from(total_ms), Decimal::from(calls), 1),
            p50_ms: percentile(histogram, 50),
            p90_ms: percentile(histogram, 90),
            p95_ms: percentile(histogram, 95),
            p99_ms: percentile(histogram, 99),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(latencies: &[i32]) -> Vec<i64> {
        let mut buckets = vec![0; LATENCY_BOUNDS_MS.len() + 1];
        for latency in latencies {
            let bucket = LATENCY_BOUNDS_MS.iter().position(|bound| latency <= bound).unwrap_or(LATENCY_BOUNDS_MS.len());
            buckets[bucket] += 1;
        }
        buckets
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&histogram(&[]), 99), None);
        assert_eq!(percentile(&histogram(&[1_000_000]), 50), Some(600_000.0));
        assert_eq!(percentile(&histogram(&[60; 10]), 50), Some(62.5), "evenly between 50 and 75");
    }

    proptest! {
        #[test]
        fn a_percentile_is_in_the_bucket_of_the_true_one(mut latencies in prop::collection::vec(1_i32..600_000, 1..200), percent in 1_u32..100) {
            let found = percentile(&histogram(&latencies), percent).unwrap();
            latencies.sort_unstable();
            let rank = (latencies.len() * percent as usize).div_ceil(100).max(1);
            let truth = latencies[rank - 1];
            let bucket = LATENCY_BOUNDS_MS.iter().position(|bound| truth <= *bound).unwrap();
            let lower = if bucket == 0 { 0 } else { LATENCY_BOUNDS_MS[bucket - 1] };
            prop_assert!(f64::from(lower) <= found && found <= f64::from(LATENCY_BOUNDS_MS[bucket]), "{found} for {truth}");
        }

        #[test]
        fn percentiles_rise(latencies in prop::collection::vec(1_i32..1_000_000, 1..100)) {
            let histogram = histogram(&latencies);
            let all: Vec<f64> = (1..100).filter_map(|p| percentile(&histogram, p)).collect();
            prop_assert!(all.windows(2).all(|pair| pair[0] <= pair[1]), "{all:?}");
        }
    }
}
