use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use tenantry_core::calendar::{Tz, midnight};
use utoipa::ToSchema;

/// The longest period that can be asked about.
pub const MAX_DAYS: i64 = 400;

/// Days of a tenant's clock, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: NaiveDate,
    to: NaiveDate,
    zone: Tz,
}

/// Why there is no such period: the parameter, and what is wrong with it.
pub type BadPeriod = (&'static str, String);

impl Period {
    /// What was asked for. Without ends it is the month of `today`; with a beginning only, all until today; with an end only, its
    /// month until then.
    ///
    /// # Errors
    /// [`BadPeriod`].
    pub fn of(from: Option<NaiveDate>, to: Option<NaiveDate>, today: NaiveDate, zone: Tz) -> Result<Self, BadPeriod> {
        for (name, day) in [("from", from), ("to", to)] {
            if day.is_some_and(|day| !(2000..=2199).contains(&day.year())) {
                return Err((name, "must lie in the years 2000 to 2199".to_owned()));
            }
        }
        let (from, to) = match (from, to) {
            (None, None) => (first_of_month(today), last_of_month(today)),
            (Some(from), None) if from > today => {
                return Err(("from", format!("must not be after today, `{today}`, unless `to` is given")));
            }
            (Some(from), None) => (from, today),
            (None, Some(to)) => (first_of_month(to), to),
            (Some(from), Some(to)) => (from, to),
        };
        if to < from {
            return Err(("to", format!("must not be before `from`, `{from}`")));
        }
        let period = Self { from, to, zone };
        if period.days() > MAX_DAYS {
            return Err(("from", format!("a period has at most {MAX_DAYS} days, this one has {}", period.days())));
        }
        Ok(period)
    }

    /// Of two days that are known to be in order.
    #[must_use]
    pub fn between(from: NaiveDate, to: NaiveDate, zone: Tz) -> Self {
        Self { from, to: to.max(from), zone }
    }

    /// The calendar month of a day.
    #[must_use]
    pub fn month_of(day: NaiveDate, zone: Tz) -> Self {
        Self { from: first_of_month(day), to: last_of_month(day), zone }
    }

    /// The first day.
    #[must_use]
    pub const fn from(&self) -> NaiveDate {
        self.from
    }

    /// The last day.
    #[must_use]
    pub const fn to(&self) -> NaiveDate {
        self.to
    }

    /// Whose days they are.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// How many days.
    #[must_use]
    pub fn days(&self) -> i64 {
        (self.to - self.from).num_days() + 1
    }

    /// How many of them have begun on a day, that day included.
    #[must_use]
    pub fn begun(&self, today: NaiveDate) -> i64 {
        ((today - self.from).num_days() + 1).clamp(0, self.days())
    }

    /// Whether a day is one of them.
    #[must_use]
    pub fn contains(&self, day: NaiveDate) -> bool {
        (self.from..=self.to).contains(&day)
    }

    /// The first instant.
    #[must_use]
    pub fn starts_at(&self) -> DateTime<Utc> {
        midnight(self.from, self.zone)
    }

    /// The first instant after it.
    #[must_use]
    pub fn ends_at(&self) -> DateTime<Utc> {
        midnight(after(self.to, 1), self.zone)
    }

    /// Instants between which all calls of these days are, whatever the zone was when they were recorded: for leaving out
    /// partitions. The days themselves are stored with the calls.
    #[must_use]
    pub fn reach(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let utc = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
        (utc(before(self.from, 1)), utc(after(self.to, 2)))
    }

    /// The period before: as many calendar months where this one is made of whole ones, as many days otherwise.
    #[must_use]
    pub fn previous(&self) -> Self {
        let last = before(self.from, 1);
        let months = (self.to.year() - self.from.year()) * 12 + i32::try_from(self.to.month0()).unwrap_or(0)
            - i32::try_from(self.from.month0()).unwrap_or(0)
            + 1;
        let whole = self.from == first_of_month(self.from) && self.to == last_of_month(self.to);
        let from = match u32::try_from(months) {
            Ok(months) if whole => self.from.checked_sub_months(Months::new(months)).unwrap_or(last),
            _ => before(last, u64::try_from(self.days() - 1).unwrap_or(0)),
        };
        Self { from, to: last, zone: self.zone }
    }

    /// Its first days.
    #[must_use]
    pub fn first_days(&self, days: i64) -> Self {
        let to = after(self.from, u64::try_from(days - 1).unwrap_or(0)).min(self.to);
        Self { from: self.from, to, zone: self.zone }
    }

    /// How it is told.
    #[must_use]
    pub fn told(&self) -> PeriodInfo {
        PeriodInfo { from: self.from, to: self.to, days: self.days(), time_zone: self.zone.name().to_owned() }
    }
}

/// So many days later.
#[must_use]
pub fn after(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX)
}

/// So many days earlier.
#[must_use]
pub fn before(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

fn last_of_month(day: NaiveDate) -> NaiveDate {
    let next = first_of_month(day).checked_add_months(Months::new(1));
    next.and_then(|next| next.pred_opt()).unwrap_or(day)
}

/// Days of the tenant's clock, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"from": "2026-11-01", "to": "2026-11-30", "days": 30, "time_zone": "Asia/Kolkata"}))]
pub struct PeriodInfo {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// How many days.
    pub days: i64,
    /// The zone whose days they are. Calls stay in the day that they were recorded in, also when the zone is changed later.
    pub time_zone: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn of(from: Option<&str>, to: Option<&str>) -> Result<(NaiveDate, NaiveDate), BadPeriod> {
        Period::of(from.map(day), to.map(day), day("2026-11-24"), Tz::UTC).map(|period| (period.from, period.to))
    }

    #[test]
    fn missing_ends_have_a_meaning() {
        assert_eq!(of(None, None).unwrap(), (day("2026-11-01"), day("2026-11-30")));
        assert_eq!(of(Some("2026-11-20"), None).unwrap(), (day("2026-11-20"), day("2026-11-24")));
        assert_eq!(of(None, Some("2026-02-10")).unwrap(), (day("2026-02-01"), day("2026-02-10")));
        for (from, to, name) in [
            (Some("2026-11-25"), None, "from"),
            (Some("2026-11-02"), Some("2026-11-01"), "to"),
            (Some("2024-01-01"), Some("2026-01-01"), "from"),
            (Some("1969-01-01"), None, "from"),
            (None, Some("9999-01-01"), "to"),
        ] {
            assert_eq!(of(from, to).unwrap_err().0, name, "{from:?} {to:?}");
        }
    }

    #[test]
    fn whole_months_follow_whole_months() {
        let previous = |from, to| {
            let before = Period::between(day(from), day(to), Tz::UTC).previous();
            (before.from.to_string(), before.to.to_string())
        };
        assert_eq!(previous("2026-03-01", "2026-03-31"), ("2026-02-01".into(), "2026-02-28".into()));
        assert_eq!(previous("2026-01-01", "2026-03-31"), ("2025-10-01".into(), "2025-12-31".into()));
        assert_eq!(previous("2026-03-02", "2026-03-31"), ("2026-01-31".into(), "2026-03-01".into()));
        assert_eq!(previous("2026-03-31", "2026-03-31"), ("2026-03-30".into(), "2026-03-30".into()));
    }

    proptest! {
        #[test]
        fn the_previous_ends_where_this_begins(start in 0_u64..9000, days in 1_u64..400) {
            let from = after(day("2001-01-01"), start);
            let period = Period::between(from, after(from, days - 1), Tz::Asia__Kolkata);
            let previous = period.previous();
            prop_assert_eq!(after(previous.to, 1), period.from);
            prop_assert!(previous.from <= previous.to);
            prop_assert_eq!(previous.ends_at(), period.starts_at());
            let (low, high) = period.reach();
            prop_assert!(low < period.starts_at() && period.ends_at() < high);
        }
    }
}
