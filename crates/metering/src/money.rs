//! Amounts, and what they are of one another.

use std::ops::{Add, AddAssign, Neg, Sub};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// US dollars, exact. In JSON a text such as `"0.001234"`: a number would be read as a float.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let amount = plain.then(|| Decimal::from_str_exact(&text).ok()).flatten();
        amount.map(Self).ok_or_else(|| serde::de::Error::custom("must be an amount as a string, such as `\"12.50\"`"))
    }
}

impl PartialSchema for Usd {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^-?\d+(\.\d+)?$"))
            .examples(["12.345678"])
            .description(Some("US dollars, exact. A text, because a number would be read as a float."))
            .into()
    }
}

impl ToSchema for Usd {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Usd")
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
pub(crate) fn percent(part: Decimal, whole: Decimal) -> Option<f64> {
    share(part * Decimal::ONE_HUNDRED, whole, 2)
}

/// A quotient, rounded.
#[must_use]
pub(crate) fn share(part: Decimal, whole: Decimal, decimals: u32) -> Option<f64> {
    if whole.is_zero() {
        return None;
    }
    part.checked_div(whole)?.round_dp(decimals).to_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
    fn amounts_are_texts_of_digits() {
        let read = |value: Value| serde_json::from_value::<Usd>(value).map(|usd| usd.0.to_string()).ok();
        assert_eq!(read(json!("0.10")).as_deref(), Some("0.10"));
        assert_eq!(read(json!("-1.5")).as_deref(), Some("-1.5"));
        for bad in [
            json!(1),
            json!(0.1),
            json!("1e3"),
            json!("+1"),
            json!("--1"),
            json!(" 1"),
            json!(""),
            json!("1_0"),
            json!("NaN"),
        ] {
            assert_eq!(read(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn percents_are_rounded_and_of_something() {
        assert_eq!(percent(Decimal::ONE, Decimal::from(3)), Some(33.33));
        assert_eq!(percent(Decimal::ONE, Decimal::ZERO), None);
        assert_eq!(percent(Decimal::from(-1), Decimal::from(4)), Some(-25.0));
    }
}
