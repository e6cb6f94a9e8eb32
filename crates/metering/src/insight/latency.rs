use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::money::share;
use crate::rollup::histogram::percentile;

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
        let at = |percent| percentile(histogram, percent).map(|ms| (ms * 10.0).round() / 10.0);
        Self {
            mean_ms: share(Decimal::from(total_ms), Decimal::from(calls), 1),
            p50_ms: at(50.0),
            p90_ms: at(90.0),
            p95_ms: at(95.0),
            p99_ms: at(99.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup::histogram::BUCKETS;

    #[test]
    fn of_no_calls_nothing_is_said() {
        let nothing = Latency::of(0, 0, &[0; BUCKETS]);
        assert_eq!((nothing.mean_ms, nothing.p50_ms, nothing.p99_ms), (None, None, None));
        let mut one = [0; BUCKETS];
        one[7] = 1;
        let one = Latency::of(120, 1, &one);
        assert_eq!((one.mean_ms, one.p50_ms, one.p99_ms), (Some(120.0), Some(125.0), Some(125.0)));
    }
}
