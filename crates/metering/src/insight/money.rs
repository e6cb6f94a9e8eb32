use std::ops::{Add, AddAssign, Neg, Sub};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// US dollars, exact. In JSON a text such as `"0.001234"`: a number would be read as a float.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(as = UsdAmount, value_type = String, example = "12.345678")]
pub struct Usd(pub Decimal);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// What one of so many costs; nothing for none. Twelve decimals, as amounts are stored.
    #[must_use]
    pub fn each(self, of: i64) -> Option<Self> {
        (of != 0).then(|| self.0.checked_div(Decimal::from(of)).map(|each| Self(each.round_dp(12)))).flatten()
    }
}

impl std::fmt::Display for Usd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.normalize().fmt(f)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Usd {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl std::iter::Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// How many percent a part is of a whole, to two decimals; `None` when there is no whole.
#[must_use]
pub fn percent(part: Decimal, whole: Decimal) -> Option<f64> {
    share(part * Decimal::ONE_HUNDRED, whole, 2)
}

/// A quotient, rounded.
#[must_use]
pub fn share(part: Decimal, whole: Decimal, decimals: u32) -> Option<f64> {
    if whole.is_zero() {
        return None;
    }
    part.checked_div(whole)?.round_dp(decimals).to_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_texts_without_idle_zeros() {
        let dollars: Usd = serde_json::from_str("\"0.001234000000\"").unwrap();
        assert_eq!(serde_json::to_string(&dollars).unwrap(), "\"0.001234\"");
        assert_eq!(serde_json::to_string(&Usd::ZERO).unwrap(), "\"0\"");
        assert_eq!(Usd(Decimal::from(100)).to_string(), "100");
        assert_eq!(Usd(Decimal::ONE).each(3).unwrap().to_string(), "0.333333333333");
        assert_eq!(Usd(Decimal::ONE).each(0), None);
    }

    #[test]
    fn percents_are_rounded_and_of_something() {
        assert_eq!(percent(Decimal::ONE, Decimal::from(3)), Some(33.33));
        assert_eq!(percent(Decimal::ONE, Decimal::ZERO), None);
        assert_eq!(percent(Decimal::from(-1), Decimal::from(4)), Some(-25.0));
    }
}
