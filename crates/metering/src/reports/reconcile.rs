use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;
use workforce::text_enum;

use super::{Period, part};
use crate::reports::ReportSettings;
use crate::store::bills::{self as store, Compare, Compared};

/// A difference that no bill is worth being looked at for, in cents.
const CENTS: i64 = 1;

text_enum! {
    /// How what was captured of a day compares with its bill.
    pub enum BillStatus("status of a day") {
        /// The same, within the tolerance.
        Ok = "ok",
        /// Less than the bill: calls that went past us, or that have no price.
        Short = "short",
        /// More than the bill: a price that is too high, or a file that does not have all.
        Over = "over",
        /// No bill has the day.
        Missing = "missing",
    }
}

/// Which days are compared.
#[derive(Debug, Clone)]
pub struct ReconcileQuery {
    /// Which days of UTC.
    pub period: Period,
    /// Only of this provider.
    pub provider: Option<String>,
    /// Each account by itself. What a bill calls an account must be the id of the provider account then.
    pub by_account: bool,
}

/// What was captured of a provider's day, and what it bills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reconciliation {
    /// The provider.
    #[schema(example = "openai")]
    pub provider: String,
    /// The account; `null` when accounts are not told apart, empty when a call or a bill names none.
    #[schema(required)]
    pub account: Option<String>,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// `ok`, `short`, `over` or `missing`.
    pub status: BillStatus,
    /// What the calls of the day cost by our prices, adjustments included.
    #[schema(value_type = String, example = "411.020000000000")]
    pub captured_usd: Decimal,
    /// What the provider bills for it; `null` when no bill has the day.
    #[schema(required, value_type = Option<String>, example = "412.339900000000")]
    pub billed_usd: Option<Decimal>,
    /// Captured less billed.
    #[schema(required, value_type = Option<String>, example = "-1.319900000000")]
    pub difference_usd: Option<Decimal>,
    /// Captured as a part of billed.
    #[schema(required, value_type = Option<String>, example = "0.996799")]
    pub captured_part: Option<Decimal>,
    /// Attempts.
    pub calls: i64,
    /// Attempts without a price: the first thing to look at where it is short.
    pub unpriced_calls: i64,
    /// Attempts with tokens that we counted.
    pub estimated_calls: i64,
    /// Attempts never seen to end, which are captured at the most they can have cost.
    pub unsettled_calls: i64,
}

/// Days of providers, the latest first.
///
/// # Errors
/// [`DbError`].
pub async fn reconcile(
    tx: &MeterTx,
    settings: &ReportSettings,
    query: &ReconcileQuery,
    after: Option<(NaiveDate, &str, &str)>,
    limit: i64,
) -> Result<Vec<Reconciliation>, DbError> {
    let compare = Compare {
        from: query.period.from,
        until: query.period.until(),
        provider: query.provider.as_deref(),
        by_account: query.by_account,
        after,
        limit,
    };
    let rows = store::compare(tx, &compare).await?;
    Ok(rows.into_iter().map(|row| shown(row, settings.tolerance, query.by_account)).collect())
}

fn shown(row: Compared, tolerance: Decimal, by_account: bool) -> Reconciliation {
    let captured = row.captured.unwrap_or_default();
    let status = match row.billed {
        None => BillStatus::Missing,
        Some(billed) => {
            let allowed = (billed.abs() * tolerance).max(Decimal::new(CENTS, 2));
            match captured - billed {
                difference if difference.abs() <= allowed => BillStatus::Ok,
                difference if difference < Decimal::ZERO => BillStatus::Short,
                _ => BillStatus::Over,
            }
        }
    };
    Reconciliation {
        provider: row.provider,
        account: by_account.then_some(row.account),
        day: row.day,
        status,
        captured_usd: captured,
        billed_usd: row.billed,
        difference_usd: row.billed.map(|billed| captured - billed),
        captured_part: row.billed.and_then(|billed| part(captured, billed)),
        calls: row.calls,
        unpriced_calls: row.unpriced,
        estimated_calls: row.estimated,
        unsettled_calls: row.unsettled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(captured: Option<&str>, billed: Option<&str>) -> (BillStatus, Option<String>) {
        let amount = |text: Option<&str>| text.map(|text| text.parse::<Decimal>().unwrap());
        let row = Compared {
            provider: "openai".into(),
            account: String::new(),
            day: "2026-10-01".parse().unwrap(),
            captured: amount(captured),
            billed: amount(billed),
            calls: 1,
            unpriced: 0,
            estimated: 0,
            unsettled: 0,
        };
        let shown = shown(row, Decimal::new(1, 2), false);
        (shown.status, shown.captured_part.map(|part| part.to_string()))
    }

    #[test]
    fn days_are_judged_within_the_tolerance() {
        assert_eq!(of(Some("99"), Some("100")), (BillStatus::Ok, Some("0.99".into())));
        assert_eq!(of(Some("98.99"), Some("100")), (BillStatus::Short, Some("0.9899".into())));
        assert_eq!(of(Some("101.01"), Some("100")).0, BillStatus::Over);
        assert_eq!(of(Some("5"), None), (BillStatus::Missing, None));
        assert_eq!(of(None, Some("5")), (BillStatus::Short, Some("0".into())));
        assert_eq!(of(Some("0.001"), Some("0.009")).0, BillStatus::Ok, "a cent is nothing to look for");
        assert_eq!(of(Some("3"), Some("0")), (BillStatus::Over, None));
    }
}
