//! Amounts as catalogues write them, and as they are computed with.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals of a rate. Tokens times a rate for a million tokens then has twelve, which is what the database keeps.
const DECIMALS: u32 = 6;
/// Millionths in one.
const MILLION: u64 = 1_000_000;
/// No rate is higher, in US dollars: the dearest ever was 600 for a million tokens.
const HIGHEST: u64 = 10_000;

/// US dollars with six decimals, never negative: for a million tokens, a call or a unit.
///
/// It is kept in millionths. A millionth of a dollar for a million tokens is a millionth of a millionth for one, so the cost of
/// tokens is a product of integers, exact by its nature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// In millionths of a dollar.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// From millionths of a dollar.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = plain(text)?;
        if number > Decimal::from(HIGHEST) {
            return Err(format!(
                "`{text}` is more than {HIGHEST}: amounts are US dollars, for a million tokens or for one unit"
            ));
        }
        let micros = number.checked_mul(Decimal::from(MILLION)).filter(Decimal::is_integer);
        micros
            .and_then(|micros| micros.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` has more than {DECIMALS} decimals"))
    }
}

/// A number without sign, exponent or digits that mean nothing in front.
fn plain(text: &str) -> Result<Decimal, String> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let fine = match text.split_once('.') {
        Some((whole, rest)) => digits(whole) && digits(rest),
        None => digits(text),
    };
    let number = if fine && text.len() <= 24 { Decimal::from_str_exact(text).ok() } else { None };
    number.ok_or_else(|| format!("`{}` is no amount such as `2.50`", text.chars().take(32).collect::<String>()))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / MILLION, self.0 % MILLION);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:06}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

/// What tokens cost is multiplied with: up to 100. A catalogue's have three decimals at most, so that three of them together have nine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    numerator: i128,
    scale: u32,
}

impl Factor {
    /// As it is.
    pub const ONE: Self = Self { numerator: 1, scale: 0 };
    const DECIMALS: u32 = 9;

    /// Whether a catalogue may have it.
    #[must_use]
    pub const fn is_simple(self) -> bool {
        self.scale <= 3
    }

    /// Both, one after the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { numerator: self.numerator.saturating_mul(other.numerator), scale: self.scale + other.scale }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_one(self) -> bool {
        self.numerator == 10_i128.pow(self.scale)
    }

    /// The product, rounded once: half to even.
    #[must_use]
    pub fn of(self, amount: i128) -> Option<i128> {
        let product = amount.checked_mul(self.numerator)?;
        let divisor = 10_i128.pow(self.scale);
        let (whole, rest) = (product / divisor, product % divisor);
        let up = match (rest * 2).cmp(&divisor) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => whole % 2,
            std::cmp::Ordering::Greater => 1,
        };
        Some(whole + up)
    }
}

impl FromStr for Factor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = plain(text)?.normalize();
        if number.is_zero() || number > Decimal::ONE_HUNDRED {
            return Err(format!("`{text}` is no factor above 0 and up to 100"));
        }
        if number.scale() > Self::DECIMALS {
            return Err(format!("`{text}` has more decimals than a factor may have"));
        }
        Ok(Self { numerator: number.mantissa(), scale: number.scale() })
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Decimal::from_i128_with_scale(self.numerator, self.scale).normalize())
    }
}

struct Text<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount in quotes, such as \"2.50\": a number without them is not exact")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! text {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(Text(std::marker::PhantomData))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}
text!(Amount);
text!(Factor);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        for (text, micros) in [("0", 0), ("2.50", 2_500_000), ("0.000001", 1), ("600", 600_000_000), ("0.0375", 37_500)]
        {
            assert_eq!(text.parse::<Amount>(), Ok(Amount(micros)), "{text}");
        }
        for text in
            ["", ".5", "5.", "-1", "+1", "1e3", "0.0000001", "1,5", "10001", " 1", "0x1", "NaN", &"1".repeat(30)]
        {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Amount>("2.5").unwrap_err().to_string().contains("in quotes"));
    }

    #[test]
    fn factors_round_half_to_even() {
        let factor = |text: &str| text.parse::<Factor>().unwrap();
        assert_eq!(factor("1.1").of(10), Some(11));
        for (amount, product) in [(1, 0), (3, 2), (5, 2), (7, 4)] {
            assert_eq!(factor("0.5").of(amount), Some(product), "{amount}");
        }
        assert_eq!(factor("1.1").and(factor("6")).to_string(), "6.6");
        assert!(factor("1.0").is_one() && factor("2").and(factor("0.5")).is_one());
        for text in ["0", "-1", "101", "x", "0.0000000001"] {
            assert!(text.parse::<Factor>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn amounts_read_back_as_they_are_written(micros in 0_u64..=HIGHEST * MILLION) {
            prop_assert_eq!(Amount(micros).to_string().parse::<Amount>(), Ok(Amount(micros)));
        }
    }
}
