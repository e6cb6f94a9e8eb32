use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tenantry_postgres::DbError;

use super::round::half_even;
use super::{
    LineKind, Month, Party, Statement, StatementLine, StatementStatus, StatementSummary, digest, hex, to_cents,
};
use crate::statements::StatementSettings;
use crate::store::Reader;
use crate::store::statements::{self as store, Group};

/// The statement of a month: the closed one, or a preview. `None`: a month that has not begun.
///
/// A preview of the month that is to be closed next has the corrections of earlier months; of later ones nobody knows yet on which
/// statement they will be.
///
/// # Errors
/// [`DbError`].
pub async fn find(
    reader: &mut Reader<'_>,
    party: &Party,
    month: Month,
    settings: &StatementSettings,
    now: DateTime<Utc>,
) -> Result<Option<Statement>, DbError> {
    if let Some((summary, lines)) = store::find(reader, month).await? {
        let intact = summary.digest.as_deref() == Some(hex(&digest(party.id, &summary, &lines)).as_str());
        if !intact {
            tracing::error!(target: "tenantry::metering", tenant_id = %party.id, %month, "a closed statement has not the digest that it was closed with");
        }
        return Ok(Some(Statement { summary, intact, lines }));
    }
    if Month::of(now, party.zone) < month {
        return Ok(None);
    }
    let standing = store::standing(reader).await?;
    // With corrections where it is next; a month before the first call has none and is empty.
    let from = match standing.closed {
        Some(closed) if closed.next() == month => OLDEST,
        _ => month.first_day(),
    };
    let unstated = store::unstated(reader, from, month).await?;
    let (mut summary, lines) = draft(party, month, &unstated.groups, settings);
    summary.pending_hours = unstated.dirty_hours;
    Ok(Some(Statement { summary, intact: true, lines }))
}

/// Closed statements before a month, the latest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    reader: &mut Reader<'_>,
    before: Option<Month>,
    limit: i64,
) -> Result<Vec<StatementSummary>, DbError> {
    store::list(reader, before, limit).await
}

/// Before everything.
pub(super) const OLDEST: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("the first day of 1970 exists");

/// What a statement of these groups says.
pub(super) fn draft(
    party: &Party,
    month: Month,
    groups: &[Group],
    settings: &StatementSettings,
) -> (StatementSummary, Vec<StatementLine>) {
    let mut lines: Vec<StatementLine> = groups.iter().flat_map(|group| of_group(group, month)).collect();
    let order = |line: &StatementLine| LineKind::ALL.iter().position(|kind| *kind == line.kind);
    lines.sort_by(|a, b| {
        (order(a), a.for_month, &a.provider, &a.model).cmp(&(order(b), b.for_month, &b.provider, &b.model))
    });
    let exact: Vec<Decimal> = lines.iter().map(|line| line.cost_usd).collect();
    let (amount, shares) = to_cents(&exact);
    for (line, share) in lines.iter_mut().zip(shares) {
        line.amount_usd = share;
    }
    let (period_start, period_end) = month.period(party.zone);
    let sum = |of: fn(&StatementLine) -> i64| lines.iter().map(of).sum::<i64>();
    let mut cost: Decimal = exact.iter().sum();
    cost.rescale(12);
    let display_rate = match party.display_currency.as_str() {
        "USD" => Some(Decimal::ONE),
        currency => settings.exchange_rates.get(currency).copied(),
    };
    let summary = StatementSummary {
        month,
        status: StatementStatus::Open,
        number: None,
        time_zone: party.zone.name().to_owned(),
        period_start,
        period_end,
        calls: sum(|line| line.calls),
        unpriced_calls: sum(|line| line.unpriced_calls),
        estimated_calls: sum(|line| line.estimated_calls),
        unsettled_calls: sum(|line| line.unsettled_calls),
        cost_usd: cost,
        amount_usd: amount,
        display_currency: party.display_currency.clone(),
        display_rate,
        display_amount: display_rate.and_then(|rate| amount.checked_mul(rate)).map(half_even),
        pending_hours: 0,
        closed_at: None,
        digest: None,
        previous_digest: None,
    };
    (summary, lines)
}

/// A line of the calls and one of the adjustments, where there is something to say.
fn of_group(group: &Group, month: Month) -> Vec<StatementLine> {
    let exact = |mut cost: Decimal| {
        cost.rescale(12);
        cost
    };
    let has_calls = group.calls != 0 || !group.cost.is_zero() || group.tokens_input != 0 || group.tokens_output != 0;
    let adjusted = !group.adjusted.is_zero();
    let of_calls = has_calls || !adjusted;
    let mut lines = Vec::new();
    if of_calls {
        lines.push(StatementLine {
            kind: if group.for_month == month { LineKind::Usage } else { LineKind::Late },
            for_month: group.for_month,
            provider: group.provider.clone(),
            model: group.model.clone(),
            calls: group.calls,
            unpriced_calls: group.unpriced,
            estimated_calls: group.estimated,
            unsettled_calls: group.unsettled,
            tokens_input: group.tokens_input,
            tokens_output: group.tokens_output,
            cost_usd: exact(group.cost),
            amount_usd: Decimal::ZERO,
        });
    }
    if adjusted {
        // An hour that has adjustments only: what became priced by them is theirs.
        let count = |of_group: i64| if of_calls { 0 } else { of_group };
        lines.push(StatementLine {
            kind: LineKind::Adjustment,
            for_month: group.for_month,
            provider: group.provider.clone(),
            model: group.model.clone(),
            calls: 0,
            unpriced_calls: count(group.unpriced),
            estimated_calls: count(group.estimated),
            unsettled_calls: count(group.unsettled),
            tokens_input: 0,
            tokens_output: 0,
            cost_usd: exact(group.adjusted),
            amount_usd: Decimal::ZERO,
        });
    }
    lines
}
