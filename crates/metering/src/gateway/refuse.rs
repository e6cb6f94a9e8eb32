//! Why a call is not made, or has no answer, as its caller reads it.

use std::time::Duration;

use tenantry_http::Problem;

use super::ask::Unread;
use crate::codes;
use crate::spool::SpoolError;

/// After which time it is worth asking again, where the server expects to be well soon.
const SOON: Duration = Duration::from_secs(2);

impl From<Unread> for Problem {
    fn from(error: Unread) -> Self {
        let code = match error {
            Unread::NotAnObject => &codes::INVALID_CALL,
            Unread::Background => &codes::UNMETERED_CALL,
        };
        Self::of(code).detail(error.to_string())
    }
}

pub(super) fn not_spooled(error: &SpoolError) -> Problem {
    match error {
        SpoolError::Full => Problem::of(&codes::METERING_BACKLOG_FULL)
            .detail("the call was not made: it could not be metered now")
            .retry_after(SOON),
        SpoolError::Io(why) => {
            tracing::error!(target: "metering::gateway", %why, "no call is made: the spool cannot be written");
            Problem::of(&codes::METERING_UNAVAILABLE)
                .detail("the call was not made: it could not be metered")
                .retry_after(SOON)
        }
    }
}

pub(super) fn busy() -> Problem {
    Problem::of(&codes::GATEWAY_BUSY).detail("the server makes as many calls as it may").retry_after(SOON)
}

pub(super) fn unreachable(detail: &'static str) -> Problem {
    Problem::of(&codes::PROVIDER_UNREACHABLE).detail(detail)
}

pub(super) fn timed_out(limit: Duration) -> Problem {
    Problem::of(&codes::PROVIDER_TIMEOUT).detail(format!("the provider said nothing for {} s", limit.as_secs()))
}

pub(super) fn stopping() -> Problem {
    Problem::of(&codes::GATEWAY_BUSY).detail("the server is stopping").retry_after(SOON)
}
