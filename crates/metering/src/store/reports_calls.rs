//! What operators ask of the calls of the last minutes and hours.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_postgres::{DbError, MeterTx, Row, statements};
use uuid::Uuid;

use super::column;

statements! {
    /// When calls came that passed through us, of the last hour before `$1`: how long after their end they were recorded.
    INGEST(TIMESTAMPTZ) = "\
        SELECT count(*) AS calls, max(recorded_at) AS last_recorded, \
               percentile_cont(0.5) WITHIN GROUP (ORDER BY lag)::float8 AS p50, percentile_cont(0.95) WITHIN GROUP (ORDER BY lag)::float8 AS p95, max(lag)::float8 AS longest \
        FROM (SELECT recorded_at, greatest(extract(epoch FROM recorded_at - \"timestamp\") - latency_ms / 1000.0, 0) AS lag \
              FROM analytics.provider_api_calls \
              WHERE \"timestamp\" > $1 - interval '1 hour' AND \"timestamp\" <= $1 AND kind = 'call' AND source = 'gateway' AND usage_source <> 'unsettled') c";
    /// Who spends most per minute, of the last five or (`$3`) sixty minutes before `$1`; tenants or (`$2`) their agents.
    BURN(TIMESTAMPTZ, BOOL, BOOL, INT8) = "\
        SELECT c.tenant_id, t.slug::text AS slug, c.agent_id, c.calls_5, c.calls_60, c.cost_5, c.cost_60, c.unpriced_60 \
        FROM (SELECT tenant_id, CASE WHEN $2 THEN agent_id END AS agent_id, count(*) FILTER (WHERE \"timestamp\" > $1 - interval '5 minutes') AS calls_5, \
                     count(*) AS calls_60, coalesce(sum(cost_usd) FILTER (WHERE \"timestamp\" > $1 - interval '5 minutes'), 0) AS cost_5, \
                     coalesce(sum(cost_usd), 0) AS cost_60, count(*) FILTER (WHERE cost_usd IS NULL) AS unpriced_60 \
              FROM analytics.provider_api_calls \
              WHERE \"timestamp\" > $1 - interval '60 minutes' AND \"timestamp\" <= $1 AND kind = 'call' GROUP BY 1, 2) c \
        LEFT JOIN public.tenants t ON t.id = c.tenant_id \
        ORDER BY CASE WHEN $3 THEN c.cost_60 ELSE c.cost_5 END DESC, c.calls_60 DESC, c.tenant_id, c.agent_id LIMIT $4";
    /// How providers answered in the `$2` hours before `$1`; the most calls first, behind the row with `$3` and `$4`.
    PROVIDERS(TIMESTAMPTZ, INT4, NUMERIC, TEXT, INT8) = "\
        WITH sums AS ( \
            SELECT provider, count(*) AS calls, count(*) FILTER (WHERE attempt = 1) AS operations, count(*) FILTER (WHERE success) AS successful, \
                   count(*) FILTER (WHERE status_code = 429) AS rate_limited, \
                   count(*) FILTER (WHERE status_code BETWEEN 400 AND 499 AND status_code <> 429) AS client_errors, \
                   count(*) FILTER (WHERE status_code >= 500) AS server_errors, count(*) FILTER (WHERE finish = 'cut') AS cut, \
                   count(*) FILTER (WHERE finish = 'cancelled') AS cancelled, count(*) FILTER (WHERE usage_source = 'unsettled') AS unsettled, \
                   count(DISTINCT tenant_id) AS tenants, \
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE success) AS p50, \
                   percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE success) AS p95, \
                   percentile_disc(0.99) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE success) AS p99, \
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY time_to_first_token_ms) AS first_token_p50 \
            FROM analytics.provider_api_calls \
            WHERE \"timestamp\" > $1 - make_interval(hours => $2) AND \"timestamp\" <= $1 AND kind = 'call' GROUP BY 1) \
        SELECT * FROM sums WHERE $3::numeric IS NULL OR calls < $3 OR (calls = $3 AND provider > $4) ORDER BY calls DESC, provider LIMIT $5";
}

/// How fast calls reach the database.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Calls through us in the last hour.
    pub calls: i64,
    /// When the last one was recorded.
    pub last_recorded: Option<DateTime<Utc>>,
    /// Seconds from its end to its record, of half of them at most.
    pub p50: Option<f64>,
    /// Of 95 % of them.
    pub p95: Option<f64>,
    /// Of all of them.
    pub longest: Option<f64>,
}

/// How fast calls reach the database.
///
/// # Errors
/// [`DbError`].
pub async fn ingest(tx: &MeterTx, now: DateTime<Utc>) -> Result<Ingest, DbError> {
    let row = tx.query_one(&INGEST, &[&now]).await?;
    Ok(Ingest {
        calls: column!(row, "calls"),
        last_recorded: column!(row, "last_recorded"),
        p50: column!(row, "p50"),
        p95: column!(row, "p95"),
        longest: column!(row, "longest"),
    })
}

/// What somebody spends now.
#[derive(Debug, Clone)]
pub struct Burn {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its name, while it has one.
    pub slug: Option<String>,
    /// The agent, where it was asked for.
    pub agent_id: Option<Uuid>,
    /// Calls of five minutes.
    pub calls_5: i64,
    /// Calls of sixty.
    pub calls_60: i64,
    /// What five minutes cost.
    pub cost_5: Decimal,
    /// What sixty cost.
    pub cost_60: Decimal,
    /// Calls of sixty minutes without a price.
    pub unpriced_60: i64,
}

/// Who spends most.
///
/// # Errors
/// [`DbError`].
pub async fn burn(
    tx: &MeterTx,
    now: DateTime<Utc>,
    by_agent: bool,
    of_an_hour: bool,
    limit: i64,
) -> Result<Vec<Burn>, DbError> {
    let rows = tx.query(&BURN, &[&now, &by_agent, &of_an_hour, &limit]).await?;
    let read = |row: &Row| {
        Ok(Burn {
            tenant_id: column!(row, "tenant_id"),
            slug: column!(row, "slug"),
            agent_id: column!(row, "agent_id"),
            calls_5: column!(row, "calls_5"),
            calls_60: column!(row, "calls_60"),
            cost_5: column!(row, "cost_5"),
            cost_60: column!(row, "cost_60"),
            unpriced_60: column!(row, "unpriced_60"),
        })
    };
    rows.iter().map(read).collect()
}

/// How a provider answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The provider.
    pub provider: String,
    /// Attempts.
    pub calls: i64,
    /// First attempts.
    pub operations: i64,
    /// Attempts that did what was asked.
    pub successful: i64,
    /// Refused as too many (429).
    pub rate_limited: i64,
    /// Refused otherwise (4xx).
    pub client_errors: i64,
    /// Failed (5xx).
    pub server_errors: i64,
    /// Answers that were cut off.
    pub cut: i64,
    /// Answers that the client did not wait for.
    pub cancelled: i64,
    /// Never seen to end.
    pub unsettled: i64,
    /// Tenants that called.
    pub tenants: i64,
    /// Latency of successful calls, in milliseconds.
    pub p50: Option<i32>,
    /// Of 95 % of them.
    pub p95: Option<i32>,
    /// Of 99 % of them.
    pub p99: Option<i32>,
    /// To the first token of streams.
    pub first_token_p50: Option<i32>,
}

/// How providers answered.
///
/// # Errors
/// [`DbError`].
pub async fn providers(
    tx: &MeterTx,
    now: DateTime<Utc>,
    hours: i32,
    after: Option<(Decimal, &str)>,
    limit: i64,
) -> Result<Vec<Answered>, DbError> {
    let (place, name) = (after.map(|(place, _)| place), after.map_or("", |(_, name)| name));
    let rows = tx.query(&PROVIDERS, &[&now, &hours, &place, &name, &limit]).await?;
    let read = |row: &Row| {
        Ok(Answered {
            provider: column!(row, "provider"),
            calls: column!(row, "calls"),
            operations: column!(row, "operations"),
            successful: column!(row, "successful"),
            rate_limited: column!(row, "rate_limited"),
            client_errors: column!(row, "client_errors"),
            server_errors: column!(row, "server_errors"),
            cut: column!(row, "cut"),
            cancelled: column!(row, "cancelled"),
            unsettled: column!(row, "unsettled"),
            tenants: column!(row, "tenants"),
            p50: column!(row, "p50"),
            p95: column!(row, "p95"),
            p99: column!(row, "p99"),
            first_token_p50: column!(row, "first_token_p50"),
        })
    };
    rows.iter().map(read).collect()
}
