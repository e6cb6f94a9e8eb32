//! What operators ask of the sums of all tenants.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tenantry_postgres::{DbError, MeterTx, Row, statements};

use super::column;

statements! {
    /// How the pipeline does: hours to be summed, what is not sure of the last 24 hours, months with partitions after this one. `$1`: now.
    HEALTH(TIMESTAMPTZ) = "\
        SELECT d.hours AS dirty_hours, d.oldest AS oldest_dirty, h.*, \
               (SELECT count(*) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
                WHERE i.inhparent = 'analytics.provider_api_calls'::regclass AND right(c.relname, 7) > to_char($1 AT TIME ZONE 'UTC', 'YYYY_MM')) AS partitions_ahead \
        FROM (SELECT count(*) AS hours, min(marked_at) AS oldest FROM analytics.dirty_hours) d, \
             (SELECT coalesce(sum(total_calls), 0)::int8 AS calls, coalesce(sum(unpriced_calls), 0)::int8 AS unpriced, \
                     coalesce(sum(estimated_calls), 0)::int8 AS estimated, coalesce(sum(unsettled_calls), 0)::int8 AS unsettled, \
                     coalesce(sum(cost_usd), 0) AS cost \
              FROM analytics.hourly_metrics WHERE hour > $1 - interval '24 hours' AND hour <= $1) h";
    /// What the days from `$1` to before `$2` cost, by `$3`; in the order of `$6`, behind the row that had `$7` and `$8` there.
    COSTS(DATE, DATE, TEXT, TEXT, TEXT, TEXT, NUMERIC, TEXT, INT8) = "\
        WITH sums AS ( \
            SELECT CASE $3 WHEN 'tenant' THEN coalesce(t.slug::text, h.tenant_id::text) WHEN 'plan' THEN coalesce(t.plan_tier::text, '') \
                           WHEN 'provider' THEN h.provider ELSE h.provider || '/' || h.model END AS name, \
                   count(DISTINCT h.tenant_id) AS tenants, sum(h.total_calls)::int8 AS calls, sum(h.successful_calls)::int8 AS successful, \
                   sum(h.unpriced_calls)::int8 AS unpriced, sum(h.estimated_calls)::int8 AS estimated, sum(h.unsettled_calls)::int8 AS unsettled, \
                   sum(h.cost_usd) AS cost, sum(h.adjustments_usd) AS adjustments, sum(h.failed_cost_usd) AS failed, \
                   sum(h.estimated_cost_usd) AS estimated_cost, sum(h.tokens_input)::int8 AS tokens_in, sum(h.tokens_output)::int8 AS tokens_out \
            FROM analytics.hourly_metrics h LEFT JOIN public.tenants t ON t.id = h.tenant_id \
            WHERE h.day >= $1 AND h.day < $2 \
              AND h.hour >= (($1::date - 1)::timestamp AT TIME ZONE 'UTC') AND h.hour < (($2::date + 1)::timestamp AT TIME ZONE 'UTC') \
              AND ($4::text IS NULL OR t.slug = $4) AND ($5::text IS NULL OR h.provider = $5) \
            GROUP BY 1), \
        placed AS (SELECT *, CASE $6 WHEN 'cost' THEN cost WHEN 'calls' THEN calls::numeric WHEN 'unpriced' THEN unpriced::numeric ELSE 0 END AS place FROM sums) \
        SELECT * FROM placed WHERE $7::numeric IS NULL OR place < $7 OR (place = $7 AND name > $8) ORDER BY place DESC, name LIMIT $9";
    /// What tenants pay by their plans' prices (`$3`, `$4`) and what the days from `$1` to before `$2` cost, by plan or (`$5`) by tenant; the
    /// least margin first, behind the row with `$6` and `$7`. A plan without a price counts as nothing in the order.
    MARGINS(DATE, DATE, TEXT_ARRAY, NUMERIC_ARRAY, BOOL, NUMERIC, TEXT, INT8) = "\
        WITH prices AS (SELECT * FROM unnest($3::text[], $4::numeric[]) AS p (tier, price)), \
        costs AS ( \
            SELECT tenant_id, sum(cost_usd) AS cost, sum(total_calls)::int8 AS calls, sum(unpriced_calls)::int8 AS unpriced \
            FROM analytics.hourly_metrics WHERE day >= $1 AND day < $2 \
              AND hour >= (($1::date - 1)::timestamp AT TIME ZONE 'UTC') AND hour < (($2::date + 1)::timestamp AT TIME ZONE 'UTC') GROUP BY 1), \
        rows AS ( \
            SELECT CASE WHEN $5 THEN t.slug::text ELSE t.plan_tier::text END AS name, t.plan_tier::text AS plan, count(*) AS tenants, \
                   sum(p.price) AS revenue, coalesce(sum(c.cost), 0) AS cost, coalesce(sum(c.calls), 0)::int8 AS calls, coalesce(sum(c.unpriced), 0)::int8 AS unpriced \
            FROM public.tenants t LEFT JOIN costs c ON c.tenant_id = t.id LEFT JOIN prices p ON p.tier = t.plan_tier \
            WHERE t.status = 'active' OR c.cost IS NOT NULL GROUP BY 1, 2), \
        placed AS (SELECT *, coalesce(revenue, 0) - cost AS place FROM rows) \
        SELECT * FROM placed WHERE $6::numeric IS NULL OR place > $6 OR (place = $6 AND name > $7) ORDER BY place, name LIMIT $8";
    /// Models with calls that have no price, since `$1`; most calls first, behind the row with `$2` and `$3`.
    UNPRICED(TIMESTAMPTZ, NUMERIC, TEXT, INT8) = "\
        WITH models AS ( \
            SELECT h.provider, h.model, h.provider || '/' || h.model AS name, sum(h.unpriced_calls)::int8 AS calls, \
                   min(h.hour) FILTER (WHERE h.unpriced_calls > 0) AS first_seen, max(h.hour) FILTER (WHERE h.unpriced_calls > 0) AS last_seen, \
                   count(DISTINCT h.tenant_id) AS tenants, (array_agg(DISTINCT coalesce(t.slug::text, h.tenant_id::text)))[1:5] AS examples \
            FROM analytics.hourly_metrics h LEFT JOIN public.tenants t ON t.id = h.tenant_id \
            WHERE h.hour >= $1 AND h.unpriced_calls <> 0 GROUP BY 1, 2 HAVING sum(h.unpriced_calls) > 0) \
        SELECT * FROM models WHERE $2::numeric IS NULL OR calls < $2 OR (calls = $2 AND name > $3) ORDER BY calls DESC, name LIMIT $4";
}

/// How the pipeline does, as the database shows it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Hours whose sums are older than their calls.
    pub dirty_hours: i64,
    /// Since when the one that waits longest.
    pub oldest_dirty: Option<DateTime<Utc>>,
    /// Months after this one that have partitions.
    pub partitions_ahead: i64,
    /// Attempts of 24 hours.
    pub calls: i64,
    /// Without a price.
    pub unpriced: i64,
    /// With tokens that we counted.
    pub estimated: i64,
    /// Never seen to end.
    pub unsettled: i64,
    /// What they cost.
    pub cost: Decimal,
}

/// How the pipeline does.
///
/// # Errors
/// [`DbError`].
pub async fn health(tx: &MeterTx, now: DateTime<Utc>) -> Result<Health, DbError> {
    let row = tx.query_one(&HEALTH, &[&now]).await?;
    Ok(Health {
        dirty_hours: column!(row, "dirty_hours"),
        oldest_dirty: column!(row, "oldest_dirty"),
        partitions_ahead: column!(row, "partitions_ahead"),
        calls: column!(row, "calls"),
        unpriced: column!(row, "unpriced"),
        estimated: column!(row, "estimated"),
        unsettled: column!(row, "unsettled"),
        cost: column!(row, "cost"),
    })
}

/// Which costs.
#[derive(Debug, Clone, Copy)]
pub struct CostFilter<'a> {
    /// The first day.
    pub from: NaiveDate,
    /// The day after the last.
    pub until: NaiveDate,
    /// `tenant`, `plan`, `provider` or `model`.
    pub by: &'a str,
    /// Only this tenant's.
    pub tenant: Option<&'a str>,
    /// Only this provider's.
    pub provider: Option<&'a str>,
    /// `cost`, `calls`, `unpriced` or `name`.
    pub sort: &'a str,
    /// Behind this row.
    pub after: Option<(Decimal, &'a str)>,
    /// How many rows.
    pub limit: i64,
}

/// What something cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Of what.
    pub name: String,
    /// Its place in the order.
    pub place: Decimal,
    /// Tenants with calls.
    pub tenants: i64,
    /// Attempts.
    pub calls: i64,
    /// That did what was asked.
    pub successful: i64,
    /// Without a price.
    pub unpriced: i64,
    /// With tokens that we counted.
    pub estimated: i64,
    /// Never seen to end.
    pub unsettled: i64,
    /// All of it.
    pub cost: Decimal,
    /// Of it, changes afterwards.
    pub adjustments: Decimal,
    /// Of it, calls that failed.
    pub failed: Decimal,
    /// Of it, calls with tokens that we counted or that were never seen to end.
    pub estimated_cost: Decimal,
    /// Tokens in.
    pub tokens_input: i64,
    /// Tokens out.
    pub tokens_output: i64,
}

/// What the days of a period cost.
///
/// # Errors
/// [`DbError`].
pub async fn costs(tx: &MeterTx, which: &CostFilter<'_>) -> Result<Vec<Cost>, DbError> {
    let (place, name) = (which.after.map(|(place, _)| place), which.after.map_or("", |(_, name)| name));
    let rows = tx
        .query(
            &COSTS,
            &[
                &which.from,
                &which.until,
                &which.by,
                &which.tenant,
                &which.provider,
                &which.sort,
                &place,
                &name,
                &which.limit,
            ],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Cost {
            name: column!(row, "name"),
            place: column!(row, "place"),
            tenants: column!(row, "tenants"),
            calls: column!(row, "calls"),
            successful: column!(row, "successful"),
            unpriced: column!(row, "unpriced"),
            estimated: column!(row, "estimated"),
            unsettled: column!(row, "unsettled"),
            cost: column!(row, "cost"),
            adjustments: column!(row, "adjustments"),
            failed: column!(row, "failed"),
            estimated_cost: column!(row, "estimated_cost"),
            tokens_input: column!(row, "tokens_in"),
            tokens_output: column!(row, "tokens_out"),
        })
    };
    rows.iter().map(read).collect()
}

/// What a plan or a tenant pays and costs.
#[derive(Debug, Clone)]
pub struct Margin {
    /// The plan or the tenant.
    pub name: String,
    /// The plan.
    pub plan: String,
    /// Its place in the order.
    pub place: Decimal,
    /// How many pay.
    pub tenants: i64,
    /// What they pay; unknown where the plan has no price.
    pub revenue: Option<Decimal>,
    /// What they cost.
    pub cost: Decimal,
    /// Attempts.
    pub calls: i64,
    /// Without a price.
    pub unpriced: i64,
}

/// Margins of the days of a period, the least first.
///
/// # Errors
/// [`DbError`].
pub async fn margins(
    tx: &MeterTx,
    days: (NaiveDate, NaiveDate),
    prices: &[(String, Decimal)],
    by_tenant: bool,
    after: Option<(Decimal, &str)>,
    limit: i64,
) -> Result<Vec<Margin>, DbError> {
    let (tiers, amounts): (Vec<&str>, Vec<Decimal>) =
        prices.iter().map(|(tier, price)| (tier.as_str(), *price)).unzip();
    let (place, name) = (after.map(|(place, _)| place), after.map_or("", |(_, name)| name));
    let rows = tx.query(&MARGINS, &[&days.0, &days.1, &tiers, &amounts, &by_tenant, &place, &name, &limit]).await?;
    let read = |row: &Row| {
        Ok(Margin {
            name: column!(row, "name"),
            plan: column!(row, "plan"),
            place: column!(row, "place"),
            tenants: column!(row, "tenants"),
            revenue: column!(row, "revenue"),
            cost: column!(row, "cost"),
            calls: column!(row, "calls"),
            unpriced: column!(row, "unpriced"),
        })
    };
    rows.iter().map(read).collect()
}

/// A model without a price.
#[derive(Debug, Clone)]
pub struct Unpriced {
    /// Whose.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Both, which is its place among those with as many calls.
    pub name: String,
    /// Calls without a price.
    pub calls: i64,
    /// The hour of the first.
    pub first_seen: DateTime<Utc>,
    /// The hour of the last.
    pub last_seen: DateTime<Utc>,
    /// Tenants that call it.
    pub tenants: i64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// Models without a price.
///
/// # Errors
/// [`DbError`].
pub async fn unpriced(
    tx: &MeterTx,
    since: DateTime<Utc>,
    after: Option<(Decimal, &str)>,
    limit: i64,
) -> Result<Vec<Unpriced>, DbError> {
    let (place, name) = (after.map(|(place, _)| place), after.map_or("", |(_, name)| name));
    let rows = tx.query(&UNPRICED, &[&since, &place, &name, &limit]).await?;
    let read = |row: &Row| {
        Ok(Unpriced {
            provider: column!(row, "provider"),
            model: column!(row, "model"),
            name: column!(row, "name"),
            calls: column!(row, "calls"),
            first_seen: column!(row, "first_seen"),
            last_seen: column!(row, "last_seen"),
            tenants: column!(row, "tenants"),
            examples: column!(row, "examples"),
        })
    };
    rows.iter().map(read).collect()
}
