//! What operators see of all tenants' metering. The endpoints and the command line show the same.

mod burn;
mod costs;
mod health;
mod margins;
mod providers;
mod reconcile;
mod settings;
mod unpriced;
mod watch;

use chrono::{DateTime, Days, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::statements::Month;

pub use burn::{BurnRate, burn};
pub use costs::{CostBy, CostOrder, CostQuery, OperatorCost, costs};
pub use health::{Captured, IngestHealth, LastDay, MeteringHealth, RollupHealth, health};
pub use margins::{MarginQuery, PlanMargin, margins};
pub use providers::{ProviderHealth, providers};
pub use reconcile::{BillStatus, ReconcileQuery, Reconciliation, reconcile};
pub use settings::{AlertSettings, ReportSettings};
pub use unpriced::{UnpricedModel, unpriced};
pub use watch::{Alert, AlertName, Watch, alerts, keep_watch};

/// The longest period of a report, in days.
pub const LONGEST: i64 = 400;

/// Days of a report, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

impl Period {
    /// The days that somebody asks for; what is left open is the running month up to today.
    ///
    /// # Errors
    /// Why there is no such period.
    pub fn new(from: Option<NaiveDate>, to: Option<NaiveDate>, now: DateTime<Utc>) -> Result<Self, String> {
        let to = to.unwrap_or_else(|| now.date_naive());
        let from = from.unwrap_or_else(|| Month::of_day(to).first_day());
        let days = (to - from).num_days() + 1;
        if !(1..=LONGEST).contains(&days) {
            return Err(format!("the period from `{from}` to `{to}` must have 1 to {LONGEST} days"));
        }
        Ok(Self { from, to })
    }

    /// A whole month.
    #[must_use]
    pub fn month(month: Month) -> Self {
        let to = month.next().first_day().pred_opt().unwrap_or(NaiveDate::MAX);
        Self { from: month.first_day(), to }
    }

    /// The first day that is not in it.
    pub(crate) fn until(self) -> NaiveDate {
        self.to.checked_add_days(Days::new(1)).unwrap_or(self.to)
    }
}

/// The place of a row in a report: what it is ordered by, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The figure.
    pub figure: Decimal,
    /// The name.
    pub name: String,
}

impl Place {
    fn of(place: Option<&Self>) -> Option<(Decimal, &str)> {
        place.map(|place| (place.figure, place.name.as_str()))
    }
}

/// A part of a whole, with six decimals; none of nothing.
fn part(of: Decimal, whole: Decimal) -> Option<Decimal> {
    of.checked_div(whole).map(|part| part.round_dp(6).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_the_running_month_unless_it_is_told() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(Period::new(None, None, now).unwrap(), Period { from: day("2026-11-01"), to: day("2026-11-24") });
        let may = Period::month("2026-05".parse().unwrap());
        assert_eq!((may.from, may.to, may.until()), (day("2026-05-01"), day("2026-05-31"), day("2026-06-01")));
        assert!(Period::new(Some(day("2026-12-01")), None, now).unwrap_err().contains("1 to 400 days"));
        assert!(Period::new(Some(day("2025-01-01")), None, now).is_err());
    }
}
