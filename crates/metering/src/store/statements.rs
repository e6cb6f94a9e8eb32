//! Statements and their lines, and what is not stated yet.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tenantry_core::calendar::Tz;
use tenantry_postgres::{DbError, MeterTx, Row, statements};
use uuid::Uuid;

use super::{Reader, column};
use crate::statements::{LineKind, Month, Party, StatementLine, StatementStatus, StatementSummary};

/// The columns of a statement without its lines.
macro_rules! columns {
    () => {
        "month, number, time_zone, period_start, period_end, calls, unpriced_calls, estimated_calls, unsettled_calls, cost_usd, \
         amount_usd, display_currency, display_rate, display_amount, digest, previous_digest, closed_at"
    };
}

statements! {
    /// The last statement, and the first day with a call.
    STANDING(UUID) = "SELECT (SELECT max(month) FROM analytics.statements WHERE $1::uuid IS NULL OR tenant_id = $1) AS closed, \
                             least((SELECT min(day) FROM analytics.hourly_metrics WHERE $1::uuid IS NULL OR tenant_id = $1), \
                                   (SELECT min(day) FROM analytics.dirty_hours WHERE $1::uuid IS NULL OR tenant_id = $1)) AS first_day";
    /// What is known of the days from `$2` to `$4`, less what statements say of them, by month, provider and model; with the hours that
    /// are still to be summed, and the last statement. One statement of SQL, so all of it is of one moment.
    UNSTATED(UUID, DATE, DATE, DATE) = "\
        WITH seen AS ( \
            SELECT date_trunc('month', day::timestamp)::date AS for_month, provider, model, sum(total_calls)::int8 AS calls, \
                   sum(unpriced_calls)::int8 AS unpriced, sum(estimated_calls)::int8 AS estimated, sum(unsettled_calls)::int8 AS unsettled, \
                   sum(tokens_input)::int8 AS tokens_in, sum(tokens_output)::int8 AS tokens_out, \
                   sum(cost_usd - adjustments_usd) AS cost, sum(adjustments_usd) AS adjusted \
            FROM analytics.hourly_metrics WHERE ($1::uuid IS NULL OR tenant_id = $1) AND day >= $2 AND day < $4 GROUP BY 1, 2, 3), \
        stated AS ( \
            SELECT for_month, provider, model, sum(calls)::int8 AS calls, \
                   sum(unpriced_calls)::int8 AS unpriced, sum(estimated_calls)::int8 AS estimated, sum(unsettled_calls)::int8 AS unsettled, \
                   sum(tokens_input)::int8 AS tokens_in, sum(tokens_output)::int8 AS tokens_out, \
                   sum(CASE WHEN kind = 'adjustment' THEN 0 ELSE cost_usd END) AS cost, \
                   sum(CASE WHEN kind = 'adjustment' THEN cost_usd ELSE 0 END) AS adjusted \
            FROM analytics.statement_lines WHERE ($1::uuid IS NULL OR tenant_id = $1) AND for_month >= $2 AND for_month < $4 GROUP BY 1, 2, 3), \
        unstated AS ( \
            SELECT for_month, provider, model, coalesce(n.calls, 0) - coalesce(s.calls, 0) AS calls, \
                   coalesce(n.unpriced, 0) - coalesce(s.unpriced, 0) AS unpriced, coalesce(n.estimated, 0) - coalesce(s.estimated, 0) AS estimated, \
                   coalesce(n.unsettled, 0) - coalesce(s.unsettled, 0) AS unsettled, \
                   coalesce(n.tokens_in, 0) - coalesce(s.tokens_in, 0) AS tokens_in, coalesce(n.tokens_out, 0) - coalesce(s.tokens_out, 0) AS tokens_out, \
                   coalesce(n.cost, 0) - coalesce(s.cost, 0) AS cost, coalesce(n.adjusted, 0) - coalesce(s.adjusted, 0) AS adjusted \
            FROM seen n FULL JOIN stated s USING (for_month, provider, model) \
            WHERE for_month = $3 OR for_month > analytics.kept_from()) \
        SELECT dirty.hours AS dirty_hours, last.number, last.digest, u.* \
        FROM (SELECT count(*) AS hours FROM analytics.dirty_hours WHERE ($1::uuid IS NULL OR tenant_id = $1) AND day >= $2 AND day < $4) dirty \
        LEFT JOIN (SELECT number, digest FROM analytics.statements WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY number DESC LIMIT 1) last ON true \
        LEFT JOIN unstated u ON NOT (u.calls = 0 AND u.unpriced = 0 AND u.estimated = 0 AND u.unsettled = 0 AND u.tokens_in = 0 \
                                     AND u.tokens_out = 0 AND u.cost = 0 AND u.adjusted = 0)";
    /// A closed statement.
    FIND_STATEMENT(UUID, DATE) = concat!("SELECT ", columns!(), " FROM analytics.statements WHERE ($1::uuid IS NULL OR tenant_id = $1) AND month = $2");
    /// Its lines.
    STATEMENT_LINES(UUID, DATE) = "SELECT kind, for_month, provider, model, calls, unpriced_calls, estimated_calls, unsettled_calls, tokens_input, \
                                          tokens_output, cost_usd, amount_usd \
                                   FROM analytics.statement_lines WHERE ($1::uuid IS NULL OR tenant_id = $1) AND month = $2 ORDER BY line";
    /// Closed statements before a month, the latest first.
    LIST_STATEMENTS(UUID, DATE, INT8) = concat!(
        "SELECT ", columns!(), " FROM analytics.statements WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::date IS NULL OR month < $2) \
         ORDER BY month DESC LIMIT $3"
    );
    /// Writes a statement, unless its month or its number is taken.
    CLOSE(UUID, DATE, INT4, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, INT8, INT8, INT8, INT8, NUMERIC, NUMERIC, TEXT, NUMERIC, NUMERIC, BYTEA, BYTEA, TIMESTAMPTZ, TEXT) =
        "INSERT INTO analytics.statements (tenant_id, month, number, time_zone, period_start, period_end, calls, unpriced_calls, \
             estimated_calls, unsettled_calls, cost_usd, amount_usd, display_currency, display_rate, display_amount, digest, previous_digest, \
             closed_at, closed_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT DO NOTHING";
    /// Writes the lines of one.
    CLOSE_LINES(UUID, DATE, TEXT_ARRAY, DATE_ARRAY, TEXT_ARRAY, TEXT_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, INT8_ARRAY, NUMERIC_ARRAY, NUMERIC_ARRAY) =
        "INSERT INTO analytics.statement_lines (tenant_id, month, line, kind, for_month, provider, model, calls, unpriced_calls, \
             estimated_calls, unsettled_calls, tokens_input, tokens_output, cost_usd, amount_usd) \
         SELECT $1, $2, l.n::int4, l.kind, l.for_month, l.provider, l.model, l.calls, l.unpriced, l.estimated, l.unsettled, l.tokens_in, l.tokens_out, l.cost, l.amount \
         FROM unnest($3::text[], $4::date[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], \
                     $13::numeric[], $14::numeric[]) WITH ORDINALITY \
              AS l (kind, for_month, provider, model, calls, unpriced, estimated, unsettled, tokens_in, tokens_out, cost, amount, n)";
    /// Tenants in the order of their ids, or one.
    PARTIES(UUID, TEXT, INT8) =
        "SELECT id, slug::text AS slug, time_zone, display_currency FROM public.tenants \
         WHERE ($1::uuid IS NULL OR id > $1) AND ($2::text IS NULL OR slug = $2) ORDER BY id LIMIT $3";
}

/// Where the statements of a tenant stand.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The month that was closed last.
    pub closed: Option<Month>,
    /// The month of the first call.
    pub first: Option<Month>,
}

impl Standing {
    /// The month that is to be closed next; none as long as there is no call.
    #[must_use]
    pub fn next(&self) -> Option<Month> {
        self.closed.map(Month::next).or(self.first)
    }
}

/// A group of calls with what no statement says of it yet.
#[derive(Debug, Clone)]
pub struct Group {
    /// The month of the calls.
    pub for_month: Month,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Attempts.
    pub calls: i64,
    /// Without a price.
    pub unpriced: i64,
    /// With tokens that we counted.
    pub estimated: i64,
    /// Never seen to end.
    pub unsettled: i64,
    /// Tokens in.
    pub tokens_input: i64,
    /// Tokens out.
    pub tokens_output: i64,
    /// What the calls cost.
    pub cost: Decimal,
    /// What changed afterwards.
    pub adjusted: Decimal,
}

/// What no statement says yet, at one moment.
#[derive(Debug)]
pub struct Unstated {
    /// Hours whose sums are older than their calls.
    pub dirty_hours: i64,
    /// The number of the last statement; 0 without one.
    pub last_number: i32,
    /// Its digest.
    pub last_digest: Option<Vec<u8>>,
    /// What there is.
    pub groups: Vec<Group>,
}

/// A tenant that statements are made for.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name.
    pub slug: String,
    /// What a statement says of it.
    pub party: Party,
}

/// Where the statements of a tenant stand.
///
/// # Errors
/// [`DbError`].
pub async fn standing(reader: &mut Reader<'_>) -> Result<Standing, DbError> {
    let rows = reader.query(&STANDING, &[]).await?;
    let row = rows.first().ok_or(DbError::Misuse("a statement for one row gave none"))?;
    let closed: Option<NaiveDate> = column!(row, "closed");
    let first: Option<NaiveDate> = column!(row, "first_day");
    Ok(Standing { closed: closed.map(Month::of_day), first: first.map(Month::of_day) })
}

/// What is not stated of a month, and of those from `from` on before it.
///
/// # Errors
/// [`DbError`].
pub async fn unstated(reader: &mut Reader<'_>, from: NaiveDate, month: Month) -> Result<Unstated, DbError> {
    let (first, end) = (month.first_day(), month.next().first_day());
    let rows = reader.query(&UNSTATED, &[&from, &first, &end]).await?;
    let head = rows.first().ok_or(DbError::Misuse("a statement for one row gave none"))?;
    let number: Option<i32> = column!(head, "number");
    let mut unstated = Unstated {
        dirty_hours: column!(head, "dirty_hours"),
        last_number: number.unwrap_or(0),
        last_digest: column!(head, "digest"),
        groups: Vec::new(),
    };
    for row in &rows {
        let for_month: Option<NaiveDate> = column!(row, "for_month");
        let Some(for_month) = for_month else { continue };
        unstated.groups.push(Group {
            for_month: Month::of_day(for_month),
            provider: column!(row, "provider"),
            model: column!(row, "model"),
            calls: column!(row, "calls"),
            unpriced: column!(row, "unpriced"),
            estimated: column!(row, "estimated"),
            unsettled: column!(row, "unsettled"),
            tokens_input: column!(row, "tokens_in"),
            tokens_output: column!(row, "tokens_out"),
            cost: column!(row, "cost"),
            adjusted: column!(row, "adjusted"),
        });
    }
    Ok(unstated)
}

/// A closed statement with its lines.
///
/// # Errors
/// [`DbError`].
pub async fn find(
    reader: &mut Reader<'_>,
    month: Month,
) -> Result<Option<(StatementSummary, Vec<StatementLine>)>, DbError> {
    let rows = reader.query(&FIND_STATEMENT, &[&month.first_day()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let summary = read(row)?;
    let lines = reader.query(&STATEMENT_LINES, &[&month.first_day()]).await?;
    Ok(Some((summary, lines.iter().map(read_line).collect::<Result<_, _>>()?)))
}

/// Closed statements, the latest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    reader: &mut Reader<'_>,
    before: Option<Month>,
    limit: i64,
) -> Result<Vec<StatementSummary>, DbError> {
    let before = before.map(Month::first_day);
    let rows = reader.query(&LIST_STATEMENTS, &[&before, &limit]).await?;
    rows.iter().map(read).collect()
}

/// Writes a statement; `false` when somebody else has written one with this month or this number.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &MeterTx,
    tenant: Uuid,
    summary: &StatementSummary,
    lines: &[StatementLine],
    digests: (&[u8], Option<&[u8]>),
    closed_by: &str,
) -> Result<bool, DbError> {
    let month = summary.month.first_day();
    let (digest, previous) = digests;
    let written = tx
        .execute(
            &CLOSE,
            &[
                &tenant,
                &month,
                &summary.number,
                &summary.time_zone,
                &summary.period_start,
                &summary.period_end,
                &summary.calls,
                &summary.unpriced_calls,
                &summary.estimated_calls,
                &summary.unsettled_calls,
                &summary.cost_usd,
                &summary.amount_usd,
                &summary.display_currency,
                &summary.display_rate,
                &summary.display_amount,
                &digest,
                &previous,
                &summary.closed_at,
                &closed_by,
            ],
        )
        .await?;
    if written == 0 {
        return Ok(false);
    }
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.as_str()).collect();
    let months: Vec<NaiveDate> = lines.iter().map(|line| line.for_month.first_day()).collect();
    let texts = |of: fn(&StatementLine) -> &str| lines.iter().map(of).collect::<Vec<&str>>();
    let counts = |of: fn(&StatementLine) -> i64| lines.iter().map(of).collect::<Vec<i64>>();
    let amounts = |of: fn(&StatementLine) -> Decimal| lines.iter().map(of).collect::<Vec<Decimal>>();
    tx.execute(
        &CLOSE_LINES,
        &[
            &tenant,
            &month,
            &kinds,
            &months,
            &texts(|line| &line.provider),
            &texts(|line| &line.model),
            &counts(|line| line.calls),
            &counts(|line| line.unpriced_calls),
            &counts(|line| line.estimated_calls),
            &counts(|line| line.unsettled_calls),
            &counts(|line| line.tokens_input),
            &counts(|line| line.tokens_output),
            &amounts(|line| line.cost_usd),
            &amounts(|line| line.amount_usd),
        ],
    )
    .await?;
    Ok(true)
}

/// Tenants behind an id, or the one with a slug.
///
/// # Errors
/// [`DbError`].
pub async fn tenants(
    tx: &MeterTx,
    after: Option<Uuid>,
    slug: Option<&str>,
    limit: i64,
) -> Result<Vec<Tenant>, DbError> {
    let rows = tx.query(&PARTIES, &[&after, &slug, &limit]).await?;
    let read = |row: &Row| {
        let zone: String = column!(row, "time_zone");
        // The database takes no other; a zone that this program's calendar has not would move days, so it is none at all.
        let zone: Tz = zone.parse().map_err(|_| DbError::Misuse("a tenant has a time zone that is not known"))?;
        let party = Party { id: column!(row, "id"), zone, display_currency: column!(row, "display_currency") };
        Ok(Tenant { slug: column!(row, "slug"), party })
    };
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<StatementSummary, DbError> {
    let month: NaiveDate = column!(row, "month");
    let digest: Vec<u8> = column!(row, "digest");
    let previous: Option<Vec<u8>> = column!(row, "previous_digest");
    let closed_at: DateTime<Utc> = column!(row, "closed_at");
    let number: i32 = column!(row, "number");
    Ok(StatementSummary {
        month: Month::of_day(month),
        status: StatementStatus::Closed,
        number: Some(number),
        time_zone: column!(row, "time_zone"),
        period_start: column!(row, "period_start"),
        period_end: column!(row, "period_end"),
        calls: column!(row, "calls"),
        unpriced_calls: column!(row, "unpriced_calls"),
        estimated_calls: column!(row, "estimated_calls"),
        unsettled_calls: column!(row, "unsettled_calls"),
        cost_usd: column!(row, "cost_usd"),
        amount_usd: column!(row, "amount_usd"),
        display_currency: column!(row, "display_currency"),
        display_rate: column!(row, "display_rate"),
        display_amount: column!(row, "display_amount"),
        pending_hours: 0,
        closed_at: Some(closed_at),
        digest: Some(crate::statements::hex(&digest)),
        previous_digest: previous.as_deref().map(crate::statements::hex),
    })
}

fn read_line(row: &Row) -> Result<StatementLine, DbError> {
    let kind: String = column!(row, "kind");
    let for_month: NaiveDate = column!(row, "for_month");
    let kind: LineKind = kind.parse().map_err(|_| DbError::Misuse("a line of a statement has an unknown kind"))?;
    Ok(StatementLine {
        kind,
        for_month: Month::of_day(for_month),
        provider: column!(row, "provider"),
        model: column!(row, "model"),
        calls: column!(row, "calls"),
        unpriced_calls: column!(row, "unpriced_calls"),
        estimated_calls: column!(row, "estimated_calls"),
        unsettled_calls: column!(row, "unsettled_calls"),
        tokens_input: column!(row, "tokens_input"),
        tokens_output: column!(row, "tokens_output"),
        cost_usd: column!(row, "cost_usd"),
        amount_usd: column!(row, "amount_usd"),
    })
}
