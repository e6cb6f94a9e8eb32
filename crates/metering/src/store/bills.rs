//! Providers' bills, and how they compare with what was captured.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tenantry_postgres::{DbError, MeterTx, Row, statements};
use uuid::Uuid;

use super::column;
use crate::bills::{BillFormat, Line, Parsed, ProviderBill};
use crate::statements::hex;

macro_rules! columns {
    () => {
        "seq, id, provider, format, digest, lines, first_day, last_day, total_usd, imported_by, imported_at"
    };
}

statements! {
    /// A bill, unless the same file is one.
    INSERT_BILL(UUID, TEXT, TEXT, BYTEA, INT4, DATE, DATE, NUMERIC, TEXT, TIMESTAMPTZ) =
        "INSERT INTO analytics.provider_bills (id, provider, format, digest, lines, first_day, last_day, total_usd, imported_by, imported_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (digest) DO NOTHING";
    /// Its lines.
    INSERT_BILL_LINES(UUID, TEXT, INT4_ARRAY, TEXT_ARRAY, DATE_ARRAY, TEXT_ARRAY, NUMERIC_ARRAY) =
        "INSERT INTO analytics.provider_bill_lines (bill_id, provider, line, account, day, model, amount_usd) \
         SELECT $1, $2, l.line, l.account, l.day, l.model, l.amount \
         FROM unnest($3::int4[], $4::text[], $5::date[], $6::text[], $7::numeric[]) AS l (line, account, day, model, amount)";
    /// The bill of a file.
    FIND_BILL(BYTEA) = concat!("SELECT ", columns!(), " FROM analytics.provider_bills WHERE digest = $1");
    /// Bills, the latest import first.
    LIST_BILLS(TEXT, INT8, INT8) = concat!(
        "SELECT ", columns!(), " FROM analytics.provider_bills \
         WHERE ($1::text IS NULL OR provider = $1) AND ($2::int8 IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3"
    );
    /// Captured and billed, by day, provider and (`$4`) account, the latest day first. Of several files with the same day of an account the
    /// one that was imported last is believed. Days are those of UTC, which providers bill by; an hour of a zone that is half an hour off
    /// is of the day in which it begins.
    RECONCILE(DATE, DATE, TEXT, BOOL, DATE, TEXT, TEXT, INT8) = "\
        WITH lines AS ( \
            SELECT l.provider, l.account, l.day, l.amount_usd, b.seq, max(b.seq) OVER (PARTITION BY l.provider, l.account, l.day) AS newest \
            FROM analytics.provider_bill_lines l JOIN analytics.provider_bills b ON b.id = l.bill_id \
            WHERE l.day >= $1 AND l.day < $2 AND ($3::text IS NULL OR l.provider = $3)), \
        billed AS ( \
            SELECT provider, CASE WHEN $4 THEN account ELSE '' END AS account, day, sum(amount_usd) AS amount \
            FROM lines WHERE seq = newest GROUP BY 1, 2, 3), \
        captured AS ( \
            SELECT provider, CASE WHEN $4 THEN coalesce(provider_account_id::text, '') ELSE '' END AS account, (hour AT TIME ZONE 'UTC')::date AS day, \
                   sum(cost_usd) AS amount, sum(total_calls)::int8 AS calls, sum(unpriced_calls)::int8 AS unpriced, \
                   sum(estimated_calls)::int8 AS estimated, sum(unsettled_calls)::int8 AS unsettled \
            FROM analytics.hourly_metrics \
            WHERE hour >= ($1::date::timestamp AT TIME ZONE 'UTC') AND hour < ($2::date::timestamp AT TIME ZONE 'UTC') \
              AND ($3::text IS NULL OR provider = $3) GROUP BY 1, 2, 3) \
        SELECT provider, account, day, c.amount AS captured, b.amount AS billed, coalesce(c.calls, 0) AS calls, coalesce(c.unpriced, 0) AS unpriced, \
               coalesce(c.estimated, 0) AS estimated, coalesce(c.unsettled, 0) AS unsettled \
        FROM captured c FULL JOIN billed b USING (provider, account, day) \
        WHERE $5::date IS NULL OR day < $5 OR (day = $5 AND (provider, account) > ($6, $7)) \
        ORDER BY day DESC, provider, account LIMIT $8";
    /// The least part of a day's bill that was captured, since a day, with the provider and the day.
    LEAST_CAPTURED(DATE) = "\
        WITH lines AS ( \
            SELECT l.provider, l.day, l.amount_usd, b.seq, max(b.seq) OVER (PARTITION BY l.provider, l.account, l.day) AS newest \
            FROM analytics.provider_bill_lines l JOIN analytics.provider_bills b ON b.id = l.bill_id WHERE l.day >= $1), \
        billed AS (SELECT provider, day, sum(amount_usd) AS amount FROM lines WHERE seq = newest GROUP BY 1, 2), \
        captured AS ( \
            SELECT provider, (hour AT TIME ZONE 'UTC')::date AS day, sum(cost_usd) AS amount FROM analytics.hourly_metrics \
            WHERE hour >= ($1::date::timestamp AT TIME ZONE 'UTC') GROUP BY 1, 2) \
        SELECT provider, day, round(coalesce(c.amount, 0) / b.amount, 6) AS part \
        FROM billed b LEFT JOIN captured c USING (provider, day) WHERE b.amount > 0 ORDER BY part, day DESC LIMIT 1";
}

/// Writes a bill with its lines; `false` when the same file is one already.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &MeterTx,
    provider: &str,
    parsed: &Parsed,
    digest: &[u8],
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let id = Uuid::now_v7();
    let lines = &parsed.lines;
    let days = || lines.iter().map(|line| line.day);
    let (first, last) = (days().min().unwrap_or_default(), days().max().unwrap_or_default());
    let total: Decimal = lines.iter().map(|line| line.amount_usd).sum();
    let count = i32::try_from(lines.len()).map_err(|_| DbError::Misuse("a bill has too many lines"))?;
    let format = parsed.format.as_str();
    let made =
        tx.execute(&INSERT_BILL, &[&id, &provider, &format, &digest, &count, &first, &last, &total, &by, &now]).await?;
    if made == 0 {
        return Ok(false);
    }
    let numbers: Vec<i32> = lines.iter().map(|line| line.line).collect();
    let texts = |of: fn(&Line) -> &str| lines.iter().map(of).collect::<Vec<&str>>();
    let days: Vec<NaiveDate> = days().collect();
    let amounts: Vec<Decimal> = lines.iter().map(|line| line.amount_usd).collect();
    let (accounts, models) = (texts(|line| &line.account), texts(|line| &line.model));
    tx.execute(&INSERT_BILL_LINES, &[&id, &provider, &numbers, &accounts, &days, &models, &amounts]).await?;
    Ok(true)
}

/// The bill of a file.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_digest(tx: &MeterTx, digest: &[u8]) -> Result<ProviderBill, DbError> {
    Ok(read(&tx.query_one(&FIND_BILL, &[&digest]).await?)?.1)
}

/// Bills with their numbers, the latest import first.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    tx: &MeterTx,
    provider: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, ProviderBill)>, DbError> {
    tx.query(&LIST_BILLS, &[&provider, &before, &limit]).await?.iter().map(read).collect()
}

/// Which days of which bills are compared.
#[derive(Debug, Clone, Copy)]
pub struct Compare<'a> {
    /// The first day.
    pub from: NaiveDate,
    /// The day after the last.
    pub until: NaiveDate,
    /// Only this provider's.
    pub provider: Option<&'a str>,
    /// Each account by itself.
    pub by_account: bool,
    /// Behind this day, provider and account.
    pub after: Option<(NaiveDate, &'a str, &'a str)>,
    /// How many rows.
    pub limit: i64,
}

/// A day of a provider.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The provider.
    pub provider: String,
    /// The account; empty when it is not told, or not asked for.
    pub account: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// What we have of it.
    pub captured: Option<Decimal>,
    /// What the provider bills.
    pub billed: Option<Decimal>,
    /// Attempts.
    pub calls: i64,
    /// Without a price.
    pub unpriced: i64,
    /// With tokens that we counted.
    pub estimated: i64,
    /// Never seen to end.
    pub unsettled: i64,
}

/// Captured and billed, the latest day first.
///
/// # Errors
/// [`DbError`].
pub async fn compare(tx: &MeterTx, which: &Compare<'_>) -> Result<Vec<Compared>, DbError> {
    let day = which.after.map(|(day, _, _)| day);
    let (provider, account) = which.after.map_or(("", ""), |(_, provider, account)| (provider, account));
    let rows = tx
        .query(
            &RECONCILE,
            &[&which.from, &which.until, &which.provider, &which.by_account, &day, &provider, &account, &which.limit],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Compared {
            provider: column!(row, "provider"),
            account: column!(row, "account"),
            day: column!(row, "day"),
            captured: column!(row, "captured"),
            billed: column!(row, "billed"),
            calls: column!(row, "calls"),
            unpriced: column!(row, "unpriced"),
            estimated: column!(row, "estimated"),
            unsettled: column!(row, "unsettled"),
        })
    };
    rows.iter().map(read).collect()
}

/// The least part of a day's bill that was captured, since a day; none when nothing was billed.
///
/// # Errors
/// [`DbError`].
pub async fn least_captured(tx: &MeterTx, since: NaiveDate) -> Result<Option<(String, NaiveDate, Decimal)>, DbError> {
    let Some(row) = tx.query_opt(&LEAST_CAPTURED, &[&since]).await? else { return Ok(None) };
    Ok(Some((column!(row, "provider"), column!(row, "day"), column!(row, "part"))))
}

fn read(row: &Row) -> Result<(i64, ProviderBill), DbError> {
    let format: String = column!(row, "format");
    let format: BillFormat = format.parse().map_err(|_| DbError::Misuse("a bill has an unknown format"))?;
    let digest: Vec<u8> = column!(row, "digest");
    let bill = ProviderBill {
        id: column!(row, "id"),
        provider: column!(row, "provider"),
        format,
        digest: hex(&digest),
        lines: column!(row, "lines"),
        first_day: column!(row, "first_day"),
        last_day: column!(row, "last_day"),
        total_usd: column!(row, "total_usd"),
        imported_by: column!(row, "imported_by"),
        imported_at: column!(row, "imported_at"),
    };
    Ok((column!(row, "seq"), bill))
}
