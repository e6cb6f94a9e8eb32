use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_core::calendar::Tz;

use super::model::{Budget, BudgetStatus};
use super::period::Span;
use crate::Usd;

/// A forecast is an estimate: what it has behind the sixth decimal means nothing.
const DECIMALS: u32 = 6;
/// Before a twentieth of a period is over there is no forecast.
const TOO_EARLY: i64 = 20;

/// What is in the database of a budget's period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) spent: Decimal,
    pub(crate) reserved: Decimal,
    pub(crate) unpriced_calls: i64,
}

/// Where a budget stands.
pub(crate) fn status(budget: &Budget, spent: Spent, now: DateTime<Utc>, zone: Tz) -> BudgetStatus {
    let Span { start, instants, .. } = Span::at(budget.period, now, zone);
    let limit = budget.limit_usd.0;
    let Spent { spent, reserved, unpriced_calls } = spent;
    let length = (instants.end - instants.start).num_milliseconds();
    let elapsed = (now - instants.start).num_milliseconds();
    let known = elapsed > 0 && elapsed >= length / TOO_EARLY;
    let forecast = known
        .then(|| (spent * Decimal::from(length)).checked_div(Decimal::from(elapsed)))
        .flatten()
        .map(|amount| amount.round_dp(DECIMALS));
    let exhausted = spent >= limit;
    let runs_out_at = (known && !exhausted && spent > Decimal::ZERO)
        .then(|| (limit * Decimal::from(elapsed)).checked_div(spent))
        .flatten()
        .and_then(|after| i64::try_from(after.trunc()).ok())
        .and_then(|after| instants.start.checked_add_signed(chrono::TimeDelta::try_milliseconds(after)?))
        .filter(|at| *at < instants.end);
    let percent = (spent * Decimal::ONE_HUNDRED).checked_div(limit).unwrap_or_default().round_dp(2);
    BudgetStatus {
        budget_id: budget.id,
        limit_usd: Usd(limit),
        period_start: start,
        started_at: instants.start,
        resets_at: instants.end,
        spent_usd: Usd(spent),
        reserved_usd: Usd(reserved),
        remaining_usd: Usd((limit - spent - reserved).max(Decimal::ZERO)),
        percent: Usd(percent),
        unpriced_calls,
        forecast_usd: forecast.map(Usd),
        runs_out_at,
        exhausted,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Period, Scope};
    use super::*;

    fn budget(limit: &str) -> Budget {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        Budget {
            id: Uuid::nil(),
            name: "All".into(),
            scope: Scope::Tenant,
            scope_id: None,
            period: Period::Month,
            limit_usd: Usd(limit.parse().unwrap()),
            hard: true,
            warn_at: Vec::new(),
            webhook_url: None,
            version: 1,
            created_at: at,
            updated_at: at,
        }
    }

    fn at(limit: &str, spent: &str, now: &str) -> BudgetStatus {
        let spent = Spent { spent: spent.parse().unwrap(), reserved: Decimal::ONE, unpriced_calls: 3 };
        status(&budget(limit), spent, now.parse().unwrap(), Tz::UTC)
    }

    #[test]
    fn a_forecast_is_what_is_spent_by_the_part_that_is_over() {
        let half = at("100", "30.5", "2026-11-16T00:00:00Z");
        assert_eq!(half.forecast_usd, Some(Usd("61".parse().unwrap())));
        assert_eq!((half.runs_out_at, half.exhausted), (None, false), "not in this month");
        assert_eq!((half.remaining_usd.0.to_string(), half.percent.0.to_string()), ("68.5".into(), "30.5".into()));
        let fast = at("45", "30", "2026-11-11T00:00:00Z");
        assert_eq!(fast.runs_out_at, Some("2026-11-16T00:00:00Z".parse().unwrap()));
        assert_eq!(fast.resets_at, "2026-12-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn there_is_none_while_it_would_say_nothing() {
        let early = at("100", "30", "2026-11-02T11:59:00Z");
        assert_eq!((early.forecast_usd, early.runs_out_at), (None, None));
        assert!(at("100", "30", "2026-11-02T12:00:00Z").forecast_usd.is_some());
        let nothing = at("100", "0", "2026-11-20T00:00:00Z");
        assert_eq!((nothing.forecast_usd, nothing.runs_out_at), (Some(Usd(Decimal::ZERO)), None));
        let over = at("10", "12", "2026-11-20T00:00:00Z");
        assert!(over.exhausted && over.runs_out_at.is_none() && over.remaining_usd.0.is_zero());
    }
}
