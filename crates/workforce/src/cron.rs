//! When a schedule is due: a cron expression of five fields, read on the clocks of a time zone.
//!
//! The expression is searched on the wall clock, where every day has 24 hours; what a wall clock's time means as an
//! instant is decided here and nowhere else, so the days on which clocks change do not depend on the parser:
//!
//! * An expression for fixed hours (`30 2 * * *`) is due once for each time it names. A time that the clocks leave out is due
//!   when they are put forward; of a time they show twice, the first counts.
//! * An expression for every hour (`*/15 * * * *`) goes by elapsed time: it is due in both passes of an hour that is shown
//!   twice, and not at all in an hour that is left out.
//!
//! Where both day of month and day of week are restricted, a day that fits either is meant, as in every cron since Vixie's.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use croner::parser::{CronParser, Seconds, Year};
use tenantry_core::calendar::{self, Tz};

/// The longest expression that is read.
const MAX_CHARS: usize = 200;

const NICKNAMES: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression that was understood.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    every_hour: bool,
}

/// A text that is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

impl Cron {
    /// Reads five fields (minute, hour, day of month, month, day of week) or a nickname such as `@daily`.
    ///
    /// # Errors
    /// [`CronError`] with what is wrong, for whoever wrote it; also for an expression that is never due, such as 30 February.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if text.chars().count() > MAX_CHARS {
            return Err(CronError(format!("must have at most {MAX_CHARS} characters")));
        }
        let nickname = NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        if nickname.is_none() && text.starts_with('@') {
            let known: Vec<String> = NICKNAMES.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(CronError(format!("`{}` is not one of {}", shortened(text), known.join(", "))));
        }
        let fields: Vec<&str> = nickname.map_or(text, |(_, meaning)| meaning).split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let count = fields.len();
            return Err(CronError(format!(
                "must have five fields (minute, hour, day of month, month, day of week), has {count}"
            )));
        };
        check_field(minute, "minute", is_digits)?;
        check_field(hour, "hour", is_digits)?;
        check_field(day, "day of month", |word| {
            is_digits(word) || ["L", "LW"].contains(&word) || word.strip_suffix('W').is_some_and(is_digits)
        })?;
        check_field(month, "month", |word| is_digits(word) || MONTHS.contains(&word))?;
        check_field(weekday, "day of week", |word| {
            let day = |word: &str| is_digits(word) || WEEKDAYS.contains(&word);
            day(word) || word == "L" || word.strip_suffix('L').is_some_and(day)
        })?;
        let pattern = read(&fields.join(" "))?;
        let every_hour = every_hour(hour)?;
        if !is_ever_due(&fields)? {
            return Err(CronError("is never due: no date fits".to_owned()));
        }
        Ok(Self { pattern, every_hour })
    }

    /// The first instant after `after` at which it is due; `None` only in the far future.
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let again = if self.every_hour { self.in_second_pass(after, zone) } else { None };
        let mut wall = calendar::wall_clock(after, zone);
        loop {
            wall = self.due_on_the_wall(wall)?;
            let at = match zone.from_local_datetime(&wall) {
                LocalResult::None if self.every_hour => continue,
                LocalResult::Ambiguous(first, second) if self.every_hour => {
                    if first.to_utc() > after {
                        first.to_utc()
                    } else {
                        second.to_utc()
                    }
                }
                _ => calendar::instant_of(wall, zone),
            };
            if at > after {
                return Some(again.map_or(at, |again| again.min(at)));
            }
        }
    }

    /// The next `count` instants after `after`.
    #[must_use]
    pub fn upcoming(&self, after: DateTime<Utc>, zone: Tz, count: usize) -> Vec<DateTime<Utc>> {
        std::iter::successors(self.next(after, zone), |at| self.next(*at, zone)).take(count).collect()
    }

    /// The shortest time between two runs on the wall clock, as far as those of the next few days or years tell.
    #[must_use]
    pub fn shortest_interval(&self) -> TimeDelta {
        /// More than a day of minutes, so that midnight is among them.
        const SAMPLE: usize = 1500;
        let runs = std::iter::successors(self.due_on_the_wall(start_of_search()), |wall| self.due_on_the_wall(*wall));
        let runs: Vec<NaiveDateTime> = runs.take(SAMPLE).collect();
        runs.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(TimeDelta::MAX)
    }

    /// The next time after `wall` that the expression names. The search itself knows of no zone.
    fn due_on_the_wall(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        self.pattern.find_next_occurrence(&wall.and_utc(), false).ok().map(|at| at.naive_utc())
    }

    /// Where `after` lies in the first pass of a time that is shown twice: the first run of the second pass. The search on the
    /// wall clock goes through that time once only.
    fn in_second_pass(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let pass = |at: DateTime<Utc>| match zone.from_local_datetime(&calendar::wall_clock(at, zone)) {
            LocalResult::Ambiguous(first, second) => Some((first.to_utc(), second.to_utc())),
            _ => None,
        };
        let (first, second) = pass(after)?;
        if after >= second {
            return None;
        }
        let end = second + (second - first);
        let minute = after - TimeDelta::nanoseconds(after.timestamp_nanos_opt()?.rem_euclid(60_000_000_000));
        std::iter::successors(Some(minute + TimeDelta::minutes(1)), |at| Some(*at + TimeDelta::minutes(1)))
            .take_while(|at| *at < end)
            .find(|at| {
                let repeated = pass(*at).is_some_and(|(_, second)| second == *at);
                let shown = calendar::wall_clock(*at, zone).and_utc();
                repeated && self.pattern.is_time_matching(&shown).unwrap_or(false)
            })
    }
}

fn read(pattern: &str) -> Result<croner::Cron, CronError> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(pattern).map_err(|error| CronError(format!("is not a cron expression: {error}")))
}

/// Refuses what the parser would take for something that nobody has written: it reads names wherever they stand.
fn check_field(field: &str, name: &str, is_word: impl Fn(&str) -> bool) -> Result<(), CronError> {
    let upper = field.to_ascii_uppercase();
    for item in upper.split(',') {
        let mut words = item.split(['-', '/', '#']);
        if item.is_empty() || !words.all(|word| word == "*" || is_word(word)) {
            return Err(CronError(format!("`{}` is not understood as {name}", shortened(item))));
        }
    }
    Ok(())
}

fn is_digits(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

/// Dates and days of the week come round within 28 years; only 2100 is no leap year, and it is far away. Without an end, the search for a
/// date that does not exist would go through thousands of years.
fn is_ever_due(fields: &[&str]) -> Result<bool, CronError> {
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).build();
    let within = format!("0 {} 2024-2054", fields.join(" "));
    let pattern = parser.parse(&within).map_err(|error| CronError(format!("is not a cron expression: {error}")))?;
    Ok(pattern.find_next_occurrence(&start_of_search().and_utc(), false).is_ok())
}

/// Whether the field for the hour leaves no hour out: `*`, but `0-23` as well.
fn every_hour(field: &str) -> Result<bool, CronError> {
    let daily = Cron { pattern: read(&format!("0 {field} * * *"))?, every_hour: false };
    let begin = start_of_search();
    let runs = std::iter::successors(daily.due_on_the_wall(begin), |wall| daily.due_on_the_wall(*wall));
    Ok(runs.take_while(|wall| *wall <= begin + TimeDelta::days(1)).count() == 24)
}

/// Where looking for a first run begins: before a leap year and a Monday, and long past.
fn start_of_search() -> NaiveDateTime {
    DateTime::UNIX_EPOCH.naive_utc() + TimeDelta::days(54 * 365)
}

fn shortened(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
