//! Query parameters that lists have in common.

use chrono::{DateTime, Utc};

use crate::Error;
use crate::checks::is_sane_instant;

/// An instant that every part of the system can represent.
pub(super) fn instant(parameter: &'static str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Error> {
    if at.is_some_and(|at| !is_sane_instant(at)) {
        return Err(Error::InvalidQuery { parameter, detail: "must lie in the years 1970 to 9999".to_owned() });
    }
    Ok(at)
}
