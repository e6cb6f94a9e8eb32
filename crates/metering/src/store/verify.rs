//! Whether calls, hours, days and counters say the same. Each statement gives what does not, so that where nothing is wrong nothing is read twice.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterTx, Row, statements};
use uuid::Uuid;

use super::rollup::around;

/// The two sides side by side, of a group of rows of which each is of one side; and only where they differ.
macro_rules! compared {
    () => {
        "sum(cost) FILTER (WHERE truth), sum(cost) FILTER (WHERE NOT truth), (sum(calls) FILTER (WHERE truth))::bigint, \
        (sum(calls) FILTER (WHERE NOT truth))::bigint, (sum(unpriced) FILTER (WHERE truth))::bigint, \
        (sum(unpriced) FILTER (WHERE NOT truth))::bigint, (sum(input) FILTER (WHERE truth))::bigint, \
        (sum(input) FILTER (WHERE NOT truth))::bigint, (sum(output) FILTER (WHERE truth))::bigint, (sum(output) FILTER (WHERE NOT truth))::bigint"
    };
}
macro_rules! differ {
    () => {
        "coalesce(sum(cost) FILTER (WHERE truth), 0) <> coalesce(sum(cost) FILTER (WHERE NOT truth), 0) \
        OR coalesce(sum(calls) FILTER (WHERE truth), 0) <> coalesce(sum(calls) FILTER (WHERE NOT truth), 0) \
        OR coalesce(sum(unpriced) FILTER (WHERE truth), 0) <> coalesce(sum(unpriced) FILTER (WHERE NOT truth), 0) \
        OR coalesce(sum(input) FILTER (WHERE truth), 0) <> coalesce(sum(input) FILTER (WHERE NOT truth), 0) \
        OR coalesce(sum(output) FILTER (WHERE truth), 0) <> coalesce(sum(output) FILTER (WHERE NOT truth), 0)"
    };
}
macro_rules! of_calls {
    () => {
        "coalesce(sum(cost_usd), 0) AS cost, count(*) FILTER (WHERE kind = 'call') AS calls, \
        count(*) FILTER (WHERE kind = 'call' AND cost_usd IS NULL) - count(*) FILTER (WHERE kind = 'adjustment' AND prices_call) AS unpriced, \
        sum(tokens_input) AS input, sum(tokens_output) AS output \
        FROM analytics.provider_api_calls \
        WHERE tenant_id = $1 AND \"timestamp\" >= $4 AND \"timestamp\" < $5 AND day BETWEEN $2 AND $3"
    };
}
macro_rules! group {
    () => {
        "provider, model, operation, agent_id, api_key_id, provider_account_id, task_type"
    };
}

statements! {
    /// All tenants, or one.
    TENANTS(TEXT) = "SELECT id, slug::text FROM public.tenants WHERE $1::text IS NULL OR slug::text = $1 ORDER BY slug::text";

    /// The first day of the partitions of a table.
    FIRST_DAY(TEXT) = "SELECT min((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''(\\d{4}-\\d\\d-\\d\\d)'))[1])::date \
        FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1)";

    /// A tenant's marked hours.
    MARKED(UUID, DATE, DATE) = "SELECT count(*) FROM analytics.dirty_hours WHERE tenant_id = $1 AND day BETWEEN $2 AND $3";

    /// What the days have in sum.
    TOTALS(UUID, DATE, DATE) = "SELECT coalesce(sum(total_calls), 0)::bigint, coalesce(sum(total_cost_usd), 0), coalesce(sum(unpriced_calls), 0)::bigint, \
        coalesce(sum(total_tokens_input), 0)::bigint, coalesce(sum(total_tokens_output), 0)::bigint \
        FROM analytics.daily_metrics WHERE tenant_id = $1 AND date BETWEEN $2 AND $3";

    /// Calls against hours, for each of their groups; without marked hours.
    HOURS(UUID, DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, INT8) = concat!("SELECT day, hour, ", group!(), ", ", compared!(), " FROM ( \
            SELECT true AS truth, day, hour, ", group!(), ", ", of_calls!(), " GROUP BY day, hour, ", group!(), " \
            UNION ALL SELECT false, day, hour, ", group!(), ", cost_usd, total_calls, unpriced_calls, tokens_input, tokens_output \
            FROM analytics.hourly_metrics WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 AND hour >= $4 AND hour < $5) AS sides \
        WHERE NOT EXISTS (SELECT FROM analytics.dirty_hours d WHERE d.tenant_id = $1 AND d.hour = sides.hour AND d.day = sides.day) \
        GROUP BY day, hour, ", group!(), " HAVING ", differ!(), " ORDER BY day, hour, ", group!(), " LIMIT $6");

    /// Hours against days, for each provider and agent. They are made together, so marks do not matter.
    DAYS(UUID, DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, INT8) = concat!("SELECT day, provider, agent_id, ", compared!(), " FROM ( \
            SELECT true AS truth, day, provider, agent_id, cost_usd AS cost, total_calls AS calls, unpriced_calls AS unpriced, \
                tokens_input AS input, tokens_output AS output \
            FROM analytics.hourly_metrics WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 AND hour >= $4 AND hour < $5 \
            UNION ALL SELECT false, date, provider, agent_id, total_cost_usd, total_calls, unpriced_calls, total_tokens_input, total_tokens_output \
            FROM analytics.daily_metrics WHERE tenant_id = $1 AND date BETWEEN $2 AND $3) AS sides \
        GROUP BY day, provider, agent_id HAVING ", differ!(), " ORDER BY day, provider, agent_id LIMIT $6");

    /// Calls against counters, for the tenant, its agents and its keys. They are written together, so marks do not matter.
    COUNTERS(UUID, DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, INT8) = concat!("WITH calls AS MATERIALIZED ( \
            SELECT day, agent_id, api_key_id, ", of_calls!(), " GROUP BY day, agent_id, api_key_id) \
        SELECT day, scope, scope_id, ", compared!(), " FROM ( \
            SELECT true AS truth, day, 'tenant' AS scope, $1 AS scope_id, cost, calls, unpriced, 0 AS input, 0 AS output FROM calls \
            UNION ALL SELECT true, day, 'agent', agent_id, cost, calls, unpriced, 0, 0 FROM calls WHERE agent_id IS NOT NULL \
            UNION ALL SELECT true, day, 'key', api_key_id, cost, calls, unpriced, 0, 0 FROM calls WHERE api_key_id IS NOT NULL \
            UNION ALL SELECT false, day, scope, scope_id, cost_usd, calls, unpriced_calls, 0, 0 \
            FROM analytics.spend_counters WHERE tenant_id = $1 AND day BETWEEN $2 AND $3) AS sides \
        GROUP BY day, scope, scope_id HAVING ", differ!(), " ORDER BY day, scope, scope_id LIMIT $6");

    /// Nobody counts while counters are made anew: what is committed by then is in the calls, and what is not is counted after.
    STOP_COUNTING() = "LOCK TABLE analytics.spend_counters IN SHARE ROW EXCLUSIVE MODE";
    /// Removes a day's counters.
    CLEAR_COUNTERS(UUID, DATE) = "DELETE FROM analytics.spend_counters WHERE tenant_id = $1 AND day = $2";
    /// Makes a day's counters from its calls.
    COUNT_DAY(UUID, DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ) = concat!("WITH calls AS MATERIALIZED ( \
            SELECT day, agent_id, api_key_id, ", of_calls!(), " GROUP BY day, agent_id, api_key_id) \
        INSERT INTO analytics.spend_counters (tenant_id, day, scope, scope_id, cost_usd, calls, unpriced_calls) \
        SELECT $1, day, 'tenant', $1, sum(cost), sum(calls), sum(unpriced) FROM calls GROUP BY day \
        UNION ALL SELECT $1, day, 'agent', agent_id, sum(cost), sum(calls), sum(unpriced) FROM calls WHERE agent_id IS NOT NULL GROUP BY day, agent_id \
        UNION ALL SELECT $1, day, 'key', api_key_id, sum(cost), sum(calls), sum(unpriced) FROM calls WHERE api_key_id IS NOT NULL GROUP BY day, api_key_id");
}

/// What is compared, on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Amounts {
    /// In US dollars.
    pub cost_usd: Decimal,
    /// Calls.
    pub calls: i64,
    /// Calls without a cost.
    pub unpriced_calls: i64,
    /// Input.
    pub tokens_input: i64,
    /// Output.
    pub tokens_output: i64,
}

/// Two sides that differ.
#[derive(Debug, Clone)]
pub struct Sides {
    /// The day.
    pub day: NaiveDate,
    /// The hour, where hours are compared.
    pub hour: Option<DateTime<Utc>>,
    /// What they are of, such as `openai / gpt-4o-mini / chat.completions`.
    pub of: String,
    /// What must be.
    pub truth: Amounts,
    /// What is.
    pub found: Amounts,
}

/// Some days of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Whose.
    pub tenant: TenantId,
    /// The first.
    pub first: NaiveDate,
    /// The last.
    pub last: NaiveDate,
}

/// More differences than this of a span are not listed.
const MOST: i64 = 1000;

/// All tenants, or one, by slug.
///
/// # Errors
/// [`DbError`].
pub async fn tenants(tx: &MeterTx, slug: Option<&str>) -> Result<Vec<(TenantId, String)>, DbError> {
    let rows = tx.query(&TENANTS, &[&slug]).await?;
    Ok(rows.iter().map(|row| (TenantId::from_uuid(row.get(0)), row.get(1))).collect())
}

/// The first day that the calls' partitions hold; before, there are only sums.
///
/// # Errors
/// [`DbError`].
pub async fn first_day(tx: &MeterTx) -> Result<Option<NaiveDate>, DbError> {
    Ok(tx.query_one(&FIRST_DAY, &[&"analytics.provider_api_calls"]).await?.get(0))
}

/// How many hours are marked.
///
/// # Errors
/// [`DbError`].
pub async fn marked(tx: &MeterTx, span: &Span) -> Result<i64, DbError> {
    Ok(tx.query_one(&MARKED, &[span.tenant.as_uuid(), &span.first, &span.last]).await?.get(0))
}

/// What the days have in sum.
///
/// # Errors
/// [`DbError`].
pub async fn totals(tx: &MeterTx, span: &Span) -> Result<Amounts, DbError> {
    let row = tx.query_one(&TOTALS, &[span.tenant.as_uuid(), &span.first, &span.last]).await?;
    Ok(Amounts {
        calls: row.get(0),
        cost_usd: row.get(1),
        unpriced_calls: row.get(2),
        tokens_input: row.get(3),
        tokens_output: row.get(4),
    })
}

/// Where hours are not the sums of their calls; marked ones are left out.
///
/// # Errors
/// [`DbError`].
pub async fn hours(tx: &MeterTx, span: &Span) -> Result<Vec<Sides>, DbError> {
    let (from, to) = around(span.first, span.last);
    let rows = tx.query(&HOURS, &[span.tenant.as_uuid(), &span.first, &span.last, &from, &to, &MOST]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (provider, model, operation): (String, String, String) = (row.get(2), row.get(3), row.get(4));
            let mut of = format!("{provider} / {model} / {operation}");
            for (at, name) in [(5, "agent"), (6, "key"), (7, "account")] {
                if let Some(id) = row.get::<_, Option<Uuid>>(at) {
                    of.push_str(&format!(" / {name} {id}"));
                }
            }
            if let Some(task_type) = row.get::<_, Option<String>>(8) {
                of.push_str(&format!(" / {task_type}"));
            }
            sides(row, Some(row.get(1)), of, 9)
        })
        .collect())
}

/// Where days are not the sums of their hours.
///
/// # Errors
/// [`DbError`].
pub async fn days(tx: &MeterTx, span: &Span) -> Result<Vec<Sides>, DbError> {
    let (from, to) = around(span.first, span.last);
    let rows = tx.query(&DAYS, &[span.tenant.as_uuid(), &span.first, &span.last, &from, &to, &MOST]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let provider: String = row.get(1);
            let agent: Option<Uuid> = row.get(2);
            let of = agent.map_or_else(|| provider.clone(), |agent| format!("{provider} / agent {agent}"));
            sides(row, None, of, 3)
        })
        .collect())
}

/// Where counters are not the sums of their calls.
///
/// # Errors
/// [`DbError`].
pub async fn counters(tx: &MeterTx, span: &Span) -> Result<Vec<Sides>, DbError> {
    let (from, to) = around(span.first, span.last);
    let rows = tx.query(&COUNTERS, &[span.tenant.as_uuid(), &span.first, &span.last, &from, &to, &MOST]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (scope, id): (String, Uuid) = (row.get(1), row.get(2));
            let of = if scope == "tenant" { scope } else { format!("{scope} {id}") };
            sides(row, None, of, 3)
        })
        .collect())
}

fn sides(row: &Row, hour: Option<DateTime<Utc>>, of: String, at: usize) -> Sides {
    let count = |at: usize| row.get::<_, Option<i64>>(at).unwrap_or_default();
    let side = |at: usize, side: usize| Amounts {
        cost_usd: row.get::<_, Option<Decimal>>(at + side).unwrap_or_default(),
        calls: count(at + 2 + side),
        unpriced_calls: count(at + 4 + side),
        tokens_input: count(at + 6 + side),
        tokens_output: count(at + 8 + side),
    };
    Sides { day: row.get(0), hour, of, truth: side(at, 0), found: side(at, 1) }
}

/// Makes a day's counters from its calls, while nobody counts.
///
/// # Errors
/// [`DbError`].
pub async fn count_day(tx: &MeterTx, tenant: TenantId, day: NaiveDate) -> Result<(), DbError> {
    let (from, to) = around(day, day);
    tx.execute(&STOP_COUNTING, &[]).await?;
    tx.execute(&CLEAR_COUNTERS, &[tenant.as_uuid(), &day]).await?;
    tx.execute(&COUNT_DAY, &[tenant.as_uuid(), &day, &day, &from, &to]).await?;
    Ok(())
}
