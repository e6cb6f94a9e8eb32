use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

/// Rounds a statement to whole cents: the total, half a cent to the even one, and each line so that the lines are the total.
///
/// Each line has its cents rounded down, and the cents that are missing then go to the lines that lost most, of equals to the earlier
/// ones (the method of the largest remainder). So no line is a whole cent away from what it exactly is.
#[must_use]
pub fn to_cents(exact: &[Decimal]) -> (Decimal, Vec<Decimal>) {
    let total = half_even(exact.iter().sum());
    let mut lines: Vec<Decimal> =
        exact.iter().map(|cost| cost.round_dp_with_strategy(2, RoundingStrategy::ToNegativeInfinity)).collect();
    let cent = Decimal::new(1, 2);
    let missing = ((total - lines.iter().sum::<Decimal>()) / cent).to_usize().unwrap_or(0);
    let mut by_loss: Vec<usize> = (0..exact.len()).collect();
    // stable, so of equals the earlier comes first
    by_loss.sort_by_key(|&line| lines[line] - exact[line]);
    for &line in by_loss.iter().take(missing) {
        lines[line] += cent;
    }
    lines.iter_mut().for_each(|amount| amount.rescale(2));
    (total, lines)
}

/// Two decimals, half to even.
pub(super) fn half_even(amount: Decimal) -> Decimal {
    let mut rounded = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
    rounded.rescale(2);
    // no statement says "-0.00"
    if rounded.is_zero() { Decimal::new(0, 2) } else { rounded }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rounded(exact: &[&str]) -> (String, Vec<String>) {
        let exact: Vec<Decimal> = exact.iter().map(|text| text.parse().unwrap()).collect();
        let (total, lines) = to_cents(&exact);
        (total.to_string(), lines.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn cents_go_where_most_was_lost() {
        let three = ["0.333333333333", "0.333333333333", "0.333333333334"];
        assert_eq!(rounded(&three), ("1.00".into(), vec!["0.33".into(), "0.33".into(), "0.34".into()]));
        assert_eq!(rounded(&["0.005"]), ("0.00".into(), vec!["0.00".into()]));
        assert_eq!(rounded(&["0.015"]), ("0.02".into(), vec!["0.02".into()]));
        assert_eq!(rounded(&["-0.005"]).0, "0.00");
        assert_eq!(rounded(&["1.999", "-0.001"]), ("2.00".into(), vec!["2.00".into(), "0.00".into()]));
        assert_eq!(rounded(&["0.004", "0.004"]), ("0.01".into(), vec!["0.01".into(), "0.00".into()]));
        assert_eq!(rounded(&[]), ("0.00".into(), vec![]));
    }

    proptest! {
        #[test]
        fn lines_are_the_total_and_near_what_they_are(exact in prop::collection::vec(-10_000_000_000_000_i64..10_000_000_000_000_000, 0..40)) {
            let exact: Vec<Decimal> = exact.into_iter().map(|digits| Decimal::new(digits, 12)).collect();
            let (total, lines) = to_cents(&exact);
            prop_assert_eq!(lines.iter().sum::<Decimal>(), total);
            prop_assert!((total - exact.iter().sum::<Decimal>()).abs() <= Decimal::new(5, 3));
            for (line, exact) in lines.iter().zip(&exact) {
                prop_assert!((line - exact).abs() < Decimal::new(1, 2), "{} is {}", exact, line);
                prop_assert!(line.scale() == 2);
            }
        }
    }
}
