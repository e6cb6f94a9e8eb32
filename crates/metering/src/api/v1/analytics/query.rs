//! What all questions are asked with: a period and filters.

use chrono::NaiveDate;
use tenantry_core::Clock;
use tenantry_core::calendar::{Tz, wall_clock};
use workforce::Error;

use crate::insight::{Period, before};

/// Names are compared with, so they need not be longer than what is stored, nor hold what no column can.
const LONGEST_NAME: usize = 200;

/// The day that it is on a tenant's clock.
pub(super) fn today(clock: &dyn Clock, zone: Tz) -> NaiveDate {
    wall_clock(clock.now(), zone).date()
}

/// Whether the sums of all days of a period are kept: what is gone is not answered with nothing.
pub(super) fn kept(period: &Period, today: NaiveDate, days: u32) -> Result<(), String> {
    let earliest = before(today, days.into());
    if period.from() < earliest {
        return Err(format!("must not reach back before `{earliest}`: what it is made of is kept for {days} days"));
    }
    Ok(())
}

/// A name to compare with.
pub(super) fn name(parameter: &'static str, given: Option<String>) -> Result<Option<String>, Error> {
    match given {
        Some(text) if text.is_empty() || text.chars().count() > LONGEST_NAME || text.contains('\0') => {
            let detail = format!("must have 1 to {LONGEST_NAME} characters and no NUL");
            Err(Error::InvalidQuery { parameter, detail: format!("`{parameter}` {detail}") })
        }
        other => Ok(other),
    }
}

/// A whole number within bounds.
pub(super) fn bounded(
    parameter: &'static str,
    given: Option<i64>,
    (least, unless_given, most): (i64, i64, i64),
) -> Result<i64, Error> {
    match given.unwrap_or(unless_given) {
        number if (least..=most).contains(&number) => Ok(number),
        number => Err(Error::InvalidQuery {
            parameter,
            detail: format!("`{parameter}` must be {least} to {most}, is `{number}`"),
        }),
    }
}

/// The query of a question: the period, the filters and what it has of its own.
macro_rules! question {
    ($(#[$meta:meta])* $name:ident { $($(#[$own_meta:meta])* $own:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            /// The first day, of the tenant's time zone. Without `from` and `to` it is this month; with `from` alone all until today;
            /// with `to` alone its month until then. At most 400 days.
            #[param(example = "2026-11-01")]
            from: Option<chrono::NaiveDate>,
            /// The last day.
            #[param(example = "2026-11-30")]
            to: Option<chrono::NaiveDate>,
            /// Only calls of this provider.
            #[param(min_length = 1, max_length = 200, example = "openai")]
            provider: Option<String>,
            /// Only calls that this model answered.
            #[param(min_length = 1, max_length = 200)]
            model: Option<String>,
            /// Only calls of this agent.
            agent_id: Option<uuid::Uuid>,
            /// Only calls with this API key.
            api_key_id: Option<uuid::Uuid>,
            /// Only this operation, such as `chat.completions`.
            #[param(min_length = 1, max_length = 200)]
            operation: Option<String>,
            /// Only this kind of work.
            #[param(min_length = 1, max_length = 200)]
            task_type: Option<String>,
            $($(#[$own_meta])* $own: $type,)*
        }

        impl $name {
            /// The calls that are asked about, and the day that it is; of days of which the sums of hours are kept.
            fn scope(
                &self,
                context: &tenantry_postgres::TenantContext,
                metering: &$crate::Metering,
            ) -> Result<($crate::store::analytics::Scope, chrono::NaiveDate), workforce::Error> {
                use $crate::api::v1::analytics::query::kept;
                let (scope, today) = self.scope_of_any_day(context, metering)?;
                kept(&scope.period, today, metering.settings.keep_hours_days).map_err(|detail| {
                    let parameter = if self.from.is_some() { "from" } else { "to" };
                    workforce::Error::InvalidQuery { parameter, detail: format!("`{parameter}` {detail}") }
                })?;
                Ok((scope, today))
            }

            /// The calls that are asked about, and the day that it is.
            fn scope_of_any_day(
                &self,
                context: &tenantry_postgres::TenantContext,
                metering: &$crate::Metering,
            ) -> Result<($crate::store::analytics::Scope, chrono::NaiveDate), workforce::Error> {
                use $crate::api::v1::analytics::query::{name, today};
                let zone = context.tenant().time_zone;
                let today = today(&*metering.clock, zone);
                let period = $crate::insight::Period::of(self.from, self.to, today, zone).map_err(|(parameter, detail)| {
                    workforce::Error::InvalidQuery { parameter, detail: format!("`{parameter}` {detail}") }
                })?;
                let scope = $crate::store::analytics::Scope {
                    period,
                    provider: name("provider", self.provider.clone())?,
                    model: name("model", self.model.clone())?,
                    agent_id: self.agent_id,
                    api_key_id: self.api_key_id,
                    operation: name("operation", self.operation.clone())?,
                    task_type: name("task_type", self.task_type.clone())?,
                };
                Ok((scope, today))
            }
        }
    };
}
pub(super) use question;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_have_bounds() {
        assert!(name("model", Some("x".repeat(200))).is_ok());
        for bad in ["", "a\0b", &"x".repeat(201)] {
            assert!(name("model", Some(bad.to_owned())).is_err(), "{bad:?}");
        }
        assert_eq!(bounded("limit", None, (1, 10, 50)).unwrap(), 10);
        assert!(bounded("limit", Some(0), (1, 10, 50)).is_err() && bounded("limit", Some(51), (1, 10, 50)).is_err());
    }
}
