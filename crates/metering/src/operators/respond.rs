//! What the endpoints share: parameters of queries.

use chrono::{DateTime, NaiveDate, Utc};
use tenantry_http::{Problem, codes};

use crate::reports::Period;

/// The days that a query asks for.
pub(super) fn period(from: Option<NaiveDate>, to: Option<NaiveDate>, now: DateTime<Utc>) -> Result<Period, Problem> {
    let sane = |day: NaiveDate| (1970..=9990).contains(&chrono::Datelike::year(&day));
    for (name, day) in [("from", from), ("to", to)] {
        if day.is_some_and(|day| !sane(day)) {
            return Err(invalid_query(name, "must be a day of the years 1970 to 9990"));
        }
    }
    Period::new(from, to, now).map_err(|detail| invalid_query("from", &detail))
}

/// A query parameter with a value that cannot be.
pub(super) fn invalid_query(parameter: &str, detail: &str) -> Problem {
    Problem::of(&codes::INVALID_QUERY).parameter(parameter, detail).detail(format!("`{parameter}`: {detail}"))
}

/// A text to compare with: nothing that a column could not hold.
pub(super) fn text(parameter: &str, given: Option<String>) -> Result<Option<String>, Problem> {
    match given {
        Some(text) if text.chars().count() > 255 || text.contains('\0') => {
            Err(invalid_query(parameter, "must have at most 255 characters and no NUL"))
        }
        given => Ok(given),
    }
}
