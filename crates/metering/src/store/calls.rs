//! Calls to providers as the tenant reads them: the table `provider_api_calls`, in which adjustments stand beside the calls.
//!
//! A call's row is never changed, so a page shows the cost as it was recorded and, beside it, what was added later.

use rust_decimal::Decimal;
use serde_json::Value;
use tenantry_http::Limit;
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use uuid::Uuid;
use workforce::{List, Page, Position};

use crate::call::Finish;
use crate::provider_call::{CallAdjustment, ProviderCall, ProviderCallDetail, ProviderCallFilter, lines};
use crate::usage::Usage;

/// What is shown of a call `c` and the sum `a` of its adjustments.
macro_rules! columns {
    () => {
        "c.id, c.\"timestamp\", c.day, c.operation_id, c.attempt, c.source, c.provider, c.operation, c.model, c.requested_model, \
         c.service_tier, c.agent_id, c.session_id, c.task_id, c.task_type, c.api_key_id, c.provider_account_id, c.client_reference, \
         c.tokens_input, c.tokens_output, c.usage, c.usage_source, c.usage_mismatch, c.cost_usd, c.cost_source, c.price_version, \
         c.list_baseline_usd, c.like_baseline_usd, c.optimal, c.latency_ms, c.time_to_first_token_ms, c.streamed, c.success, \
         c.error_message, c.finish, c.status_code, c.provider_request_id, c.recorded_at, \
         COALESCE(a.sum_usd, 0) AS adjustments_usd, c.cost_usd IS NULL AND NOT COALESCE(a.prices, false) AS unpriced"
    };
}

/// The adjustments of a call, by the index for them.
macro_rules! adjusted {
    ($what:literal) => {
        concat!(
            "(SELECT ",
            $what,
            " FROM analytics.provider_api_calls d WHERE d.adjusts = c.id AND d.kind = 'adjustment')"
        )
    };
}

macro_rules! sums {
    () => {
        adjusted!("sum(d.cost_usd) AS sum_usd, bool_or(d.prices_call) AS prices")
    };
}

statements! {
    /// A page of calls, the latest first. Adjustments are looked up for the rows of the page alone, unless they decide what is on it.
    LIST_CALLS(
        TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, UUID, UUID, BOOL, BOOL, TEXT, TIMESTAMPTZ, UUID, INT8
    ) = concat!(
        "SELECT ", columns!(), " FROM (SELECT * FROM analytics.provider_api_calls c WHERE kind = 'call' \
           AND \"timestamp\" >= COALESCE($1, '-infinity'::timestamptz) \
           AND \"timestamp\" < COALESCE($2, 'infinity'::timestamptz) \
           AND ($3::text IS NULL OR provider = $3) \
           AND ($4::text IS NULL OR model = $4) \
           AND ($5::uuid IS NULL OR agent_id = $5) \
           AND ($6::uuid IS NULL OR task_id = $6) \
           AND ($7::uuid IS NULL OR session_id = $7) \
           AND ($8::uuid IS NULL OR api_key_id = $8) \
           AND ($9::bool IS NULL OR success = $9) \
           AND ($10::bool IS NULL OR $10 = (cost_usd IS NULL AND NOT COALESCE(", adjusted!("bool_or(d.prices_call)"), ", false))) \
           AND ($11::text IS NULL OR finish = $11) \
           AND \"timestamp\" <= COALESCE($12, 'infinity'::timestamptz) \
           AND (\"timestamp\", id) < (COALESCE($12, 'infinity'::timestamptz), COALESCE($13, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
           ORDER BY \"timestamp\" DESC, id DESC LIMIT $14) c \
         LEFT JOIN LATERAL ", sums!(), " a ON true ORDER BY c.\"timestamp\" DESC, c.id DESC"
    );
    /// One call with all that was made of it. A caller that repeats an id under another time has two; the first is the one.
    FIND_CALL(UUID) = concat!(
        "SELECT ", columns!(), ", c.rates, ",
        adjusted!(
            "COALESCE(jsonb_agg(jsonb_build_object('id', d.id, 'timestamp', d.\"timestamp\", 'day', d.day, \
             'cost_usd', trim_scale(d.cost_usd)::text, 'prices_call', d.prices_call, 'price_version', d.price_version, \
             'recorded_at', d.recorded_at) ORDER BY d.\"timestamp\", d.id) FILTER (WHERE d.cost_usd IS NOT NULL), '[]')"
        ),
        " AS adjustments FROM analytics.provider_api_calls c LEFT JOIN LATERAL ", sums!(), " a ON true \
         WHERE c.id = $1 AND c.kind = 'call' ORDER BY c.\"timestamp\" LIMIT 1"
    );
}

/// A page of calls, the latest first; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    filter: &ProviderCallFilter,
    after: Option<&Position>,
    limit: Limit,
) -> Result<Page<ProviderCall>, DbError> {
    let rows = tx
        .query(
            &LIST_CALLS,
            &[
                &filter.from,
                &filter.to,
                &filter.provider,
                &filter.model,
                &filter.agent_id,
                &filter.task_id,
                &filter.session_id,
                &filter.api_key_id,
                &filter.success,
                &filter.unpriced,
                &filter.finish.map(Finish::as_str),
                &after.map(|place| place.created_at),
                &after.map(|place| place.id),
                &limit.probe(),
            ],
        )
        .await?;
    let calls = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(calls, limit, List::ProviderCalls, |call| Position { created_at: call.timestamp, id: call.id }))
}

/// One call, if there is one; one statement.
///
/// # Errors
/// Only the database's.
pub async fn find(tx: &mut TenantTx, id: Uuid) -> Result<Option<ProviderCallDetail>, DbError> {
    let Some(row) = tx.query_opt(&FIND_CALL, &[&id]).await? else { return Ok(None) };
    let call = read(&row)?;
    let rates: Option<Value> = row.try_get("rates")?;
    let adjustments: Vec<CallAdjustment> = from_json(row.try_get("adjustments")?)?;
    let lines = match (&rates, call.cost_usd) {
        (Some(rates), Some(cost)) => lines(&call.usage, rates, cost),
        _ => Vec::new(),
    };
    Ok(Some(ProviderCallDetail { call, rates, lines, adjustments }))
}

fn read(row: &Row) -> Result<ProviderCall, DbError> {
    let money =
        |name: &str| row.try_get::<_, Option<Decimal>>(name).map(|amount| amount.map(|amount| amount.normalize()));
    let usage: Usage = from_json(row.try_get("usage")?)?;
    Ok(ProviderCall {
        id: row.try_get("id")?,
        timestamp: row.try_get("timestamp")?,
        day: row.try_get("day")?,
        operation_id: row.try_get("operation_id")?,
        attempt: row.try_get("attempt")?,
        source: word(row, "source")?,
        provider: row.try_get("provider")?,
        operation: row.try_get("operation")?,
        model: row.try_get("model")?,
        requested_model: row.try_get("requested_model")?,
        service_tier: row.try_get("service_tier")?,
        agent_id: row.try_get("agent_id")?,
        session_id: row.try_get("session_id")?,
        task_id: row.try_get("task_id")?,
        task_type: row.try_get("task_type")?,
        api_key_id: row.try_get("api_key_id")?,
        provider_account_id: row.try_get("provider_account_id")?,
        client_reference: row.try_get("client_reference")?,
        tokens_input: row.try_get("tokens_input")?,
        tokens_output: row.try_get("tokens_output")?,
        usage,
        usage_source: word(row, "usage_source")?,
        usage_mismatch: row.try_get("usage_mismatch")?,
        cost_usd: money("cost_usd")?,
        cost_source: word(row, "cost_source")?,
        price_version: row.try_get("price_version")?,
        adjustments_usd: money("adjustments_usd")?.unwrap_or_default(),
        unpriced: row.try_get("unpriced")?,
        list_baseline_usd: money("list_baseline_usd")?,
        like_baseline_usd: money("like_baseline_usd")?,
        optimal: row.try_get("optimal")?,
        latency_ms: row.try_get("latency_ms")?,
        time_to_first_token_ms: row.try_get("time_to_first_token_ms")?,
        streamed: row.try_get("streamed")?,
        success: row.try_get("success")?,
        error_message: row.try_get("error_message")?,
        finish: word(row, "finish")?,
        status_code: row.try_get("status_code")?,
        provider_request_id: row.try_get("provider_request_id")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}

fn word<T: std::str::FromStr>(row: &Row, name: &str) -> Result<T, DbError> {
    let text: &str = row.try_get(name)?;
    text.parse().map_err(|_| DbError::Misuse("a call's row has a word that this version does not know"))
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, DbError> {
    serde_json::from_value(value).map_err(|_| DbError::Misuse("a call's row has a value that this version cannot read"))
}
