//! Latencies by bucket: histograms add up over hours, agents and models, which percentiles do not.
//!
//! Bucket *i* holds the calls that took at least `BOUNDS[i - 1]` and less than `BOUNDS[i]` milliseconds; the first begins at 0, the last
//! has no end.

/// Where buckets end, in milliseconds, as `analytics.latency_bounds()` has it.
pub const BOUNDS: [i32; 31] = [
    5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 4000, 5000, 7500, 10000, 15000,
    20000, 30000, 45000, 60000, 90000, 120_000, 180_000, 300_000, 600_000,
];

/// Buckets of a histogram.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The latency, in milliseconds, that `p` percent of the calls did not exceed (`p` from 0 to 100); `None` when there are no calls.
///
/// The call of that rank is in a bucket that is known, and within it calls are taken to be spread evenly. So the answer is off by less
/// than the width of that bucket: by less than 5 ms below 10 ms, by less than the true value below 20 ms, by less than three quarters of it below
/// 35 ms, by less than half of it up to three minutes, and by less than itself above. Of the last bucket, which has no end, the answer is its beginning: ten minutes or more.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52, and a percentile is an estimate")]
pub fn percentile(histogram: &[i64], p: f64) -> Option<f64> {
    let counts = || histogram.iter().take(BUCKETS).map(|count| (*count).max(0));
    let total: i64 = counts().sum();
    if total == 0 {
        return None;
    }
    let rank = (p.clamp(0.0, 100.0) / 100.0 * total as f64).ceil().max(1.0);
    let mut before = 0.0;
    let mut last = None;
    for (bucket, count) in counts().enumerate().filter(|(_, count)| *count > 0) {
        let count = count as f64;
        let lower = bucket.checked_sub(1).and_then(|below| BOUNDS.get(below)).map_or(0.0, |bound| f64::from(*bound));
        let upper = BOUNDS.get(bucket).map_or(lower, |bound| f64::from(*bound));
        last = Some(lower + (upper - lower) * (rank - before - 0.5) / count);
        before += count;
        if before >= rank {
            break;
        }
    }
    last
}

/// Adds a histogram to another.
pub fn add(sum: &mut Vec<i64>, histogram: &[i64]) {
    if sum.len() < histogram.len() {
        sum.resize(histogram.len(), 0);
    }
    for (sum, count) in sum.iter_mut().zip(histogram) {
        *sum += count;
    }
}

/// The SQL of the sum of the column `latency_histogram` over a group's rows.
macro_rules! sum_of_histograms {
    () => {
        $crate::rollup::histogram::sum_of_histograms!(@ 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31; 32)
    };
    (@ $($bucket:literal)+; $last:literal) => {
        concat!(
            "ARRAY[",
            $("coalesce(sum(latency_histogram[", $bucket, "]), 0)::bigint, ",)+
            "coalesce(sum(latency_histogram[", $last, "]), 0)::bigint]"
        )
    };
}
pub(crate) use sum_of_histograms;

/// The SQL of the histogram of a group whose rows are one bucket's calls each: their number is `calls`, the bucket `bucket`.
macro_rules! histogram_of_parts {
    () => {
        $crate::rollup::histogram::histogram_of_parts!(@ 0; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
    };
    (@ $first:literal; $($bucket:literal)+) => {
        concat!(
            "ARRAY[coalesce(sum(calls) FILTER (WHERE bucket = ", $first, "), 0)::bigint",
            $(", coalesce(sum(calls) FILTER (WHERE bucket = ", $bucket, "), 0)::bigint",)+
            "]"
        )
    };
}
pub(crate) use histogram_of_parts;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(latencies: &[i32]) -> Vec<i64> {
        let mut counts = vec![0; BUCKETS];
        for latency in latencies {
            counts[BOUNDS.iter().filter(|bound| *bound <= latency).count()] += 1;
        }
        counts
    }

    #[test]
    fn nothing_has_no_percentile_and_one_call_has_its_bucket() {
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(percentile(&[0; BUCKETS], 99.0), None);
        assert_eq!(percentile(&histogram(&[120]), 50.0), Some(125.0));
        assert_eq!(percentile(&histogram(&[7_000_000]), 50.0), Some(600_000.0));
        // a hundred calls spread over a bucket
        let even = percentile(&histogram(&[130; 100]), 90.0).unwrap();
        assert!((even - 144.75).abs() < 1e-9, "{even}");
    }

    #[test]
    fn sums_take_the_longer() {
        let mut sum = vec![1, 2];
        add(&mut sum, &[1, 1, 1]);
        assert_eq!(sum, [2, 3, 1]);
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_less_than_its_bucket(mut latencies in prop::collection::vec(0..700_000_i32, 1..300), p in 0.0..=100.0_f64) {
            latencies.sort_unstable();
            let rank = (p / 100.0 * latencies.len() as f64).ceil().max(1.0);
            let exact = *(1..).zip(&latencies).find(|(at, _)| f64::from(*at) >= rank).unwrap().1;
            let bucket = BOUNDS.iter().filter(|bound| **bound <= exact).count();
            let lower = if bucket == 0 { 0 } else { BOUNDS[bucket - 1] };
            let estimate = percentile(&histogram(&latencies), p).unwrap();
            match BOUNDS.get(bucket) {
                Some(upper) => {
                    prop_assert!((f64::from(lower)..f64::from(*upper)).contains(&estimate), "{exact} {estimate}");
                    // what the documentation says of it
                    let most = match exact { ..10 => 5.0, 10..20 => 1.0 * f64::from(exact), 20..35 => 0.75 * f64::from(exact), 35..180_000 => 0.5 * f64::from(exact), _ => f64::from(exact) };
                    prop_assert!((estimate - f64::from(exact)).abs() <= most, "{exact} {estimate}");
                }
                None => prop_assert_eq!(estimate, f64::from(lower)),
            }
        }
    }
}
