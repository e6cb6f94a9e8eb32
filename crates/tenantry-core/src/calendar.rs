//! Days and months as a tenant knows them: they begin at midnight of its time zone, wherever the server is.
//!
//! A wall clock does not show every time once. In spring an hour is left out, in autumn one is shown twice, and some zones
//! change at midnight or leave out a whole day. [`instant_of`] is the one place that decides what such a time means.

use std::ops::Range;

use chrono::{DateTime, Datelike as _, LocalResult, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
/// A time zone of the IANA database; parsed from its name, such as `Europe/Berlin`.
pub use chrono_tz::Tz;

/// What a zone's clocks show at an instant.
#[must_use]
pub fn wall_clock(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// When a zone's clocks show this time. One that is left out is the instant at which the clocks are put forward; of one
/// that is shown twice it is the first.
///
/// Later times never give earlier instants.
#[must_use]
pub fn instant_of(wall: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&wall) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
        LocalResult::None => end_of_gap(wall, zone),
    }
}

/// Clocks are put forward to a whole minute, and never by much more than a day.
fn end_of_gap(wall: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    const LONGEST: i64 = 2 * 24 * 60;
    (1..LONGEST)
        .map_while(|minutes| wall.checked_add_signed(TimeDelta::minutes(minutes)))
        .find_map(|later| zone.from_local_datetime(&later).earliest())
        .map_or_else(|| wall.and_utc(), |at| at.to_utc())
}

/// The day that an instant lies in: from its midnight to that of the next.
///
/// ```
/// use tenantry_core::calendar::{Tz, day_of};
/// let day = day_of("2026-03-29T12:00:00Z".parse().unwrap(), Tz::Europe__Berlin);
/// assert_eq!(day.start.to_rfc3339(), "2026-03-28T23:00:00+00:00");
/// assert_eq!((day.end - day.start).num_hours(), 23, "the day on which the clocks are put forward");
/// ```
#[must_use]
pub fn day_of(at: DateTime<Utc>, zone: Tz) -> Range<DateTime<Utc>> {
    let date = wall_clock(at, zone).date();
    midnight(date, zone)..midnight(date.succ_opt().unwrap_or(date), zone)
}

/// The month that an instant lies in, such as a quota's.
#[must_use]
pub fn month_of(at: DateTime<Utc>, zone: Tz) -> Range<DateTime<Utc>> {
    let date = wall_clock(at, zone).date();
    let first = date.with_day(1).unwrap_or(date);
    midnight(first, zone)..midnight(first.checked_add_months(Months::new(1)).unwrap_or(first), zone)
}

/// The first instant of a day.
#[must_use]
pub fn midnight(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    instant_of(date.and_time(chrono::NaiveTime::MIN), zone)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn wall(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn times_that_are_left_out_or_shown_twice_have_one_instant() {
        for (zone, shown, at) in [
            (Tz::UTC, "2026-01-01T00:00:00", "2026-01-01T00:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T01:59:00", "2026-03-29T00:59:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T02:00:00", "2026-03-29T01:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T02:59:00", "2026-03-29T01:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
            (Tz::Europe__Berlin, "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            (Tz::Australia__Lord_Howe, "2026-10-04T02:10:00", "2026-10-03T15:30:00Z"),
            // a zone that left out a whole day
            (Tz::Pacific__Apia, "2011-12-30T10:00:00", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(instant_of(wall(shown), zone), utc(at), "{zone} {shown}");
        }
    }

    #[test]
    fn days_begin_when_the_zone_says_so() {
        // clocks are put forward at midnight there: the day begins at one
        let day = day_of(utc("2026-04-24T12:00:00Z"), Tz::Africa__Cairo);
        assert_eq!((day.start, day.end), (utc("2026-04-23T22:00:00Z"), utc("2026-04-24T21:00:00Z")));
        let day = day_of(utc("2026-10-25T12:00:00Z"), Tz::Europe__Berlin);
        assert_eq!((day.end - day.start).num_hours(), 25);
        let day = day_of(utc("2026-06-30T23:30:00Z"), Tz::Asia__Kolkata);
        assert_eq!(day.start, utc("2026-06-30T18:30:00Z"));
    }

    #[test]
    fn months_begin_in_the_zone() {
        let month = month_of(utc("2026-01-31T23:30:00Z"), Tz::Europe__Berlin);
        assert_eq!((month.start, month.end), (utc("2026-01-31T23:00:00Z"), utc("2026-02-28T23:00:00Z")));
        let month = month_of(utc("2026-12-31T12:00:00Z"), Tz::America__New_York);
        assert_eq!((month.start, month.end), (utc("2026-12-01T05:00:00Z"), utc("2027-01-01T05:00:00Z")));
    }

    proptest! {
        // From 2012 on: before, some zones put their clocks back at a minute past midnight, and so had a day in two pieces.
        #[test]
        fn an_instant_lies_in_its_day_and_month(seconds in 1_325_376_000_i64..4_102_444_800, zone in 0..chrono_tz::TZ_VARIANTS.len()) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let (day, month) = (day_of(at, zone), month_of(at, zone));
            prop_assert!(day.contains(&at), "{zone} {at} {day:?}");
            prop_assert!(month.contains(&at) && month.start <= day.start && day.end <= month.end, "{zone} {at} {month:?}");
        }

        #[test]
        fn later_times_never_give_earlier_instants(minutes in 0_i64..60_000_000, step in 1_i64..3000, zone in 0..chrono_tz::TZ_VARIANTS.len()) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let wall = DateTime::UNIX_EPOCH.naive_utc() + TimeDelta::minutes(minutes);
            prop_assert!(instant_of(wall, zone) <= instant_of(wall + TimeDelta::minutes(step), zone));
        }
    }
}
