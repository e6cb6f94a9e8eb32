//! Whether one amount is everywhere: calls, hours, days and the counters of budgets, to the last digit.
//!
//! All is read in one moment's view, beside the traffic. Calls and counters are written in one transaction, as are hours and days, so
//! between those there is never a difference. Hours follow calls: an hour that is marked has calls that are not summed yet, so marked hours are left
//! out between calls and hours, and how many is said.

mod repair;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterDb, MeterTx};

pub use crate::store::verify::Amounts;
use crate::store::verify::{self as store, Sides, Span};
use workforce::text_enum;

text_enum! {
    /// Where the amounts are that are not what they must be.
    pub enum Table("table of sums") {
        /// `hourly_metrics`, against the calls.
        Hourly = "hourly_metrics",
        /// `daily_metrics`, against the hours.
        Daily = "daily_metrics",
        /// `spend_counters`, against the calls.
        Counters = "spend_counters",
    }
}

/// An amount that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The tenant.
    pub tenant: String,
    /// The tenant's id.
    pub tenant_id: TenantId,
    /// The day.
    pub day: NaiveDate,
    /// The hour, where an hour's sums are wrong.
    pub hour: Option<DateTime<Utc>>,
    /// Which table is wrong, or that which it is made of.
    pub table: Table,
    /// What the amount is of.
    pub of: String,
    /// Its name.
    pub amount: &'static str,
    /// What must be.
    pub expected: Decimal,
    /// What is.
    pub found: Decimal,
}

/// What to compare.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// Only this tenant, by slug.
    pub tenant: Option<String>,
    /// Not before this day of the tenants. Calls that are older than their partitions are not compared.
    pub from: Option<NaiveDate>,
    /// Not after this day.
    pub to: Option<NaiveDate>,
}

/// What was compared, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The first day that was compared.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
    /// Tenants.
    pub tenants: usize,
    /// What their days have in sum.
    #[serde(flatten)]
    pub totals: Amounts,
    /// Hours that were left out because they are marked.
    pub marked_hours: i64,
    /// What is not as it must be.
    pub differences: Vec<Difference>,
}

/// Compares, in one moment's view. `progress` is told how many of how many tenants are done.
///
/// # Errors
/// [`DbError`].
pub async fn verify(
    db: &MeterDb,
    range: &Range,
    today: NaiveDate,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, DbError> {
    let tx = db.snapshot().await?;
    let (from, to) = days(&tx, range, today).await?;
    let tenants = store::tenants(&tx, range.tenant.as_deref()).await?;
    let mut report = Report {
        from,
        to,
        tenants: tenants.len(),
        totals: Amounts::default(),
        marked_hours: 0,
        differences: Vec::new(),
    };
    for (done, (tenant, slug)) in tenants.iter().enumerate() {
        progress(done, tenants.len());
        for span in spans(*tenant, from, to) {
            report.marked_hours += store::marked(&tx, &span).await?;
            add(&mut report.totals, &store::totals(&tx, &span).await?);
            for (table, found) in [
                (Table::Hourly, store::hours(&tx, &span).await?),
                (Table::Daily, store::days(&tx, &span).await?),
                (Table::Counters, store::counters(&tx, &span).await?),
            ] {
                report.differences.extend(found.iter().flat_map(|sides| differences(*tenant, slug, table, sides)));
            }
        }
    }
    progress(tenants.len(), tenants.len());
    tx.commit().await?;
    Ok(report)
}

/// Makes the sums anew that differ. Gives how many hours, days and counters' days that were.
///
/// # Errors
/// [`DbError`].
pub async fn repair(db: &MeterDb, differences: &[Difference]) -> Result<usize, DbError> {
    repair::repair(db, differences).await
}

/// The days to compare: those of which the calls are still there. The first of them may have lost its first hours in some zone, so it is left out.
async fn days(tx: &MeterTx, range: &Range, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), DbError> {
    // In some zones it is tomorrow.
    let to = range.to.unwrap_or_else(|| today.checked_add_days(Days::new(1)).unwrap_or(today));
    let there = store::first_day(tx).await?.and_then(|day| day.checked_add_days(Days::new(1))).unwrap_or(to);
    Ok((range.from.map_or(there, |from| from.max(there)), to))
}

/// A span for each month, so that no statement reads more than that.
fn spans(tenant: TenantId, from: NaiveDate, to: NaiveDate) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut first = from;
    while first <= to {
        let next = first.with_day(1).and_then(|day| day.checked_add_months(Months::new(1)));
        let last = next.and_then(|next| next.pred_opt()).map_or(to, |last| last.min(to));
        spans.push(Span { tenant, first, last });
        let Some(following) = last.succ_opt() else { break };
        first = following;
    }
    spans
}

fn add(sum: &mut Amounts, amounts: &Amounts) {
    sum.cost_usd += amounts.cost_usd;
    sum.calls += amounts.calls;
    sum.unpriced_calls += amounts.unpriced_calls;
    sum.tokens_input += amounts.tokens_input;
    sum.tokens_output += amounts.tokens_output;
}

fn differences(tenant_id: TenantId, slug: &str, table: Table, sides: &Sides) -> Vec<Difference> {
    let Sides { day, hour, of, truth, found } = sides;
    let amounts = [
        ("cost_usd", truth.cost_usd, found.cost_usd),
        ("calls", truth.calls.into(), found.calls.into()),
        ("unpriced_calls", truth.unpriced_calls.into(), found.unpriced_calls.into()),
        ("tokens_input", truth.tokens_input.into(), found.tokens_input.into()),
        ("tokens_output", truth.tokens_output.into(), found.tokens_output.into()),
    ];
    amounts
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(amount, expected, found)| Difference {
            tenant: slug.to_owned(),
            tenant_id,
            day: *day,
            hour: *hour,
            table,
            of: of.clone(),
            amount,
            expected: expected.normalize(),
            found: found.normalize(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
