//! Days, weeks and months of a tenant's clock.

use std::ops::Range;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Utc};
use tenantry_core::calendar::{Tz, midnight, wall_clock};
use workforce::text_enum;

text_enum! {
    /// How long a budget's limit is for. Periods begin at midnight of the tenant's clock: weeks on Monday (ISO 8601), months on the first.
    #[schema(as = BudgetPeriod)]
    pub enum Period("period") {
        /// A day.
        Day = "day",
        /// A week.
        Week = "week",
        /// A month.
        Month = "month",
    }
}

impl Period {
    /// The first day of the period that a day lies in.
    #[must_use]
    pub fn start_of(self, day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => day,
            Self::Week => day.week(chrono::Weekday::Mon).checked_first_day().unwrap_or(day),
            Self::Month => day.with_day(1).unwrap_or(day),
        }
    }

    /// The first day of the period after the one that begins on this day.
    #[must_use]
    pub fn after(self, start: NaiveDate) -> NaiveDate {
        let next = match self {
            Self::Day => start.checked_add_days(Days::new(1)),
            Self::Week => start.checked_add_days(Days::new(7)),
            Self::Month => start.checked_add_months(Months::new(1)),
        };
        next.unwrap_or(start)
    }
}

/// One period: its first day, and the instants that it lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: NaiveDate,
    pub(crate) instants: Range<DateTime<Utc>>,
    zone: Tz,
}

impl Span {
    /// The period that an instant lies in.
    pub(crate) fn at(period: Period, now: DateTime<Utc>, zone: Tz) -> Self {
        let start = period.start_of(wall_clock(now, zone).date());
        let instants = midnight(start, zone)..midnight(period.after(start), zone);
        Self { start, instants, zone }
    }

    /// Whether it is still the one that an instant lies in.
    pub(crate) fn holds(&self, now: DateTime<Utc>, zone: Tz) -> bool {
        self.zone == zone && self.instants.contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn periods_begin_where_the_tenant_is() {
        let span = |period, at: &str, zone| {
            let span = Span::at(period, utc(at), zone);
            (span.start.to_string(), span.instants.start, span.instants.end)
        };
        let berlin = Tz::Europe__Berlin;
        // the clocks are put forward on Sunday, and back on Sunday: the weeks have an hour less and an hour more
        let (start, from, until) = span(Period::Week, "2026-03-29T21:59:59Z", berlin);
        assert_eq!((start.as_str(), (until - from).num_hours()), ("2026-03-23", 167));
        let (start, from, until) = span(Period::Week, "2026-10-24T22:00:00Z", berlin);
        assert_eq!((start.as_str(), (until - from).num_hours()), ("2026-10-19", 169));
        let (start, from, until) = span(Period::Day, "2026-10-24T22:00:00Z", berlin);
        assert_eq!((start.as_str(), from, (until - from).num_hours()), ("2026-10-25", utc("2026-10-24T22:00:00Z"), 25));
        // new year's eve, where it is tomorrow already
        let (start, from, _) = span(Period::Month, "2026-12-31T18:30:00Z", Tz::Asia__Kolkata);
        assert_eq!((start.as_str(), from), ("2027-01-01", utc("2026-12-31T18:30:00Z")));
        // the week of new year lies in two years
        assert_eq!(span(Period::Week, "2027-01-01T12:00:00Z", Tz::UTC).0, "2026-12-28");
        // clocks are put forward at midnight there: the day begins at one
        assert_eq!(span(Period::Day, "2026-04-24T12:00:00Z", Tz::Africa__Cairo).1, utc("2026-04-23T22:00:00Z"));
    }

    proptest! {
        #[test]
        fn periods_follow_one_another(seconds in 1_325_376_000_i64..4_102_444_800, zone in 0..chrono_tz::TZ_VARIANTS.len(), period in 0..3_usize) {
            let (zone, period) = (chrono_tz::TZ_VARIANTS[zone], Period::ALL[period]);
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let span = Span::at(period, at, zone);
            prop_assert!(span.holds(at, zone), "{zone} {at} {span:?}");
            let next = Span::at(period, span.instants.end, zone);
            prop_assert_eq!((next.start, next.instants.start), (period.after(span.start), span.instants.end));
            // the day that is stored with a call finds the same period
            prop_assert_eq!(period.start_of(crate::bucket(at, zone).1), span.start);
        }
    }
}
