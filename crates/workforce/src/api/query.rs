//! Checks of query parameters that their types do not make.

use chrono::{DateTime, Utc};

use crate::Error;
use crate::checks::is_sane_instant;

/// A text to compare with: nothing that the column could not hold, or PostgreSQL would refuse the whole statement.
pub(super) fn text(parameter: &'static str, given: Option<String>, max: usize) -> Result<Option<String>, Error> {
    match given {
        Some(text) if text.chars().count() > max || text.contains('\0') => {
            Err(Error::InvalidQuery { parameter, detail: format!("must have at most {max} characters and no NUL") })
        }
        other => Ok(other),
    }
}

/// An instant to compare with, within what every part of the system can represent.
pub(super) fn instant(parameter: &'static str, given: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Error> {
    match given {
        Some(at) if !is_sane_instant(at) => {
            Err(Error::InvalidQuery { parameter, detail: "must lie in the years 1970 to 9999".to_owned() })
        }
        other => Ok(other),
    }
}
