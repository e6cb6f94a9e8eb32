use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use tenantry_core::calendar::{Tz, midnight, wall_clock};

/// A text that names no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a month such as `2026-10`")]
pub struct InvalidMonth(String);

/// A month of the calendar, such as `2026-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month(NaiveDate);

impl Month {
    /// The month that a day lies in.
    #[must_use]
    pub fn of_day(day: NaiveDate) -> Self {
        Self(day.with_day(1).unwrap_or(day))
    }

    /// The month that a zone's clocks show.
    #[must_use]
    pub fn of(at: DateTime<Utc>, zone: Tz) -> Self {
        Self::of_day(wall_clock(at, zone).date())
    }

    /// Its first day.
    #[must_use]
    pub const fn first_day(self) -> NaiveDate {
        self.0
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add_months(Months::new(1)).unwrap_or(self.0))
    }

    /// Its first instant and the first one after it.
    #[must_use]
    pub fn period(self, zone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
        (midnight(self.0, zone), midnight(self.next().0, zone))
    }
}

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let read = || {
            let (year, month) = text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
            let (year, month) = Some((year, month)).filter(|(year, month)| digits(year) && digits(month))?;
            // Whatever is far from today is a slip, and calendars are not sure of it.
            let year: i32 = year.parse().ok().filter(|year| (1970..=9990).contains(year))?;
            NaiveDate::from_ymd_opt(year, month.parse().ok()?, 1).map(Self)
        };
        read().ok_or_else(|| InvalidMonth(text.chars().take(32).collect()))
    }
}

impl TryFrom<String> for Month {
    type Error = InvalidMonth;

    fn try_from(text: String) -> Result<Self, InvalidMonth> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn months_have_one_spelling() {
        let month: Month = "2026-12".parse().unwrap();
        assert_eq!((month.to_string().as_str(), month.next().to_string().as_str()), ("2026-12", "2027-01"));
        for wrong in [
            "",
            "2026",
            "2026-1",
            "2026-13",
            "2026-00",
            "26-01",
            "2026-01-01",
            "+026-01",
            "2026-+1",
            "9999-01",
            "2026/01",
        ] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_month_is_the_zones() {
        let at = "2026-11-30T23:30:00Z".parse().unwrap();
        assert_eq!(Month::of(at, Tz::UTC).to_string(), "2026-11");
        let december = Month::of(at, Tz::Europe__Berlin);
        assert_eq!(december.to_string(), "2026-12");
        let (start, end) = december.period(Tz::Europe__Berlin);
        assert_eq!(
            (start.to_rfc3339(), end.to_rfc3339()),
            ("2026-11-30T23:00:00+00:00".into(), "2026-12-31T23:00:00+00:00".into())
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_month_or_an_error(text in ".{0,12}") {
            if let Ok(month) = text.parse::<Month>() {
                prop_assert_eq!(month.to_string(), text);
            }
        }
    }
}
