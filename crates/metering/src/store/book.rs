//! Calls in the books: their rows, the counters of spending and the marks of their hours, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::json;
use tenantry_postgres::{DbError, MeterTx, statements};
use uuid::Uuid;

use crate::call::{Call, Kind};

statements! {
    /// A call, unless it is there already.
    BOOK_CALL(UUID, UUID, TEXT, UUID, BOOL, UUID, INT2, TEXT, UUID, UUID, UUID, UUID, UUID, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT,
        INT8, INT8, INT8, INT8, INT8, JSONB, TEXT, BOOL, NUMERIC, TEXT, TEXT, JSONB, NUMERIC, NUMERIC, BOOL, INT4, INT4, BOOL, BOOL,
        TEXT, TEXT, INT2, TEXT, TIMESTAMPTZ, TIMESTAMPTZ, DATE) =
        "INSERT INTO analytics.provider_api_calls (id, tenant_id, kind, adjusts, prices_call, operation_id, attempt, source, agent_id, \
           session_id, task_id, api_key_id, provider_account_id, task_type, client_reference, provider, operation, model, \
           requested_model, service_tier, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning, usage, \
           usage_source, usage_mismatch, cost_usd, cost_source, price_version, rates, list_baseline_usd, like_baseline_usd, optimal, \
           latency_ms, time_to_first_token_ms, streamed, success, error_message, finish, status_code, provider_request_id, \
           \"timestamp\", hour, day) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, \
           $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46) \
         ON CONFLICT DO NOTHING RETURNING true AS new";
    /// Adds to a counter.
    BOOK_SPENDING(UUID, TEXT, UUID, DATE, NUMERIC, INT8, INT8) =
        "INSERT INTO analytics.spend_counters AS s (tenant_id, scope, scope_id, day, cost_usd, calls, unpriced_calls) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, scope, scope_id, day) DO UPDATE \
         SET cost_usd = s.cost_usd + excluded.cost_usd, calls = s.calls + excluded.calls, \
             unpriced_calls = s.unpriced_calls + excluded.unpriced_calls";
    /// Marks an hour.
    BOOK_HOUR(UUID, TIMESTAMPTZ, DATE) =
        "INSERT INTO analytics.dirty_hours (tenant_id, hour, day) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant_id, hour, day) DO UPDATE SET marked_at = clock_timestamp()";
}

/// A tenant's counter: its scope, whose it is there, and the day.
type Counter<'c> = (Uuid, &'c str, Uuid, NaiveDate);

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Books calls and adjustments that are not in the books yet, and gives the places of those.
///
/// # Errors
/// [`DbError`].
pub async fn book(tx: &MeterTx, calls: &[Call]) -> Result<Vec<usize>, DbError> {
    let mut new = Vec::new();
    let mut spent: BTreeMap<Counter<'_>, (Decimal, i64, i64)> = BTreeMap::new();
    let mut hours = BTreeSet::new();
    for (at, call) in calls.iter().enumerate() {
        if !insert(tx, call).await? {
            continue;
        }
        new.push(at);
        let tenant = *call.tenant_id.as_uuid();
        hours.insert((tenant, call.hour, call.day));
        let is_call = call.kind == Kind::Call;
        let unpriced = i64::from(is_call && call.cost.cost_usd.is_none()) - i64::from(call.prices_call);
        let scopes =
            [("tenant", Some(tenant)), ("agent", call.attribution.agent_id), ("key", call.attribution.api_key_id)];
        for (scope, id) in scopes.into_iter().filter_map(|(scope, id)| Some((scope, id?))) {
            let counter = spent.entry((tenant, scope, id, call.day)).or_default();
            counter.0 += call.cost.cost_usd.unwrap_or_default();
            counter.1 += i64::from(is_call);
            counter.2 += unpriced;
        }
    }
    // in one order, whoever books what at the same time
    for ((tenant, scope, id, day), (cost, calls, unpriced)) in &spent {
        tx.execute(&BOOK_SPENDING, &[tenant, scope, id, day, cost, calls, unpriced]).await?;
    }
    for (tenant, hour, day) in &hours {
        tx.execute(&BOOK_HOUR, &[tenant, hour, day]).await?;
    }
    Ok(new)
}

async fn insert(tx: &MeterTx, call: &Call) -> Result<bool, DbError> {
    let (usage, of, cost) = (&call.usage, &call.attribution, &call.cost);
    let row = tx
        .query_opt(
            &BOOK_CALL,
            &[
                &call.id,
                call.tenant_id.as_uuid(),
                &call.kind.as_str(),
                &call.adjusts,
                &call.prices_call,
                &call.operation_id,
                &call.attempt,
                &call.source.as_str(),
                &of.agent_id,
                &of.session_id,
                &of.task_id,
                &of.api_key_id,
                &of.provider_account_id,
                &of.task_type,
                &of.client_reference,
                &call.provider,
                &call.operation,
                &call.model,
                &call.requested_model,
                &call.service_tier,
                &signed(usage.tokens_input()),
                &signed(usage.tokens_output()),
                &signed(usage.cache_read),
                &signed(usage.cache_write + usage.cache_write_1h),
                &signed(usage.reasoning),
                &json!(usage),
                &call.usage_source.as_str(),
                &call.usage_mismatch,
                &cost.cost_usd,
                &cost.cost_source.as_str(),
                &cost.price_version,
                &cost.rates,
                &cost.list_baseline_usd,
                &cost.like_baseline_usd,
                &cost.optimal,
                &call.latency_ms,
                &call.time_to_first_token_ms,
                &call.streamed,
                &call.success,
                &call.error_message,
                &call.finish.as_str(),
                &call.status_code,
                &call.provider_request_id,
                &call.timestamp,
                &call.hour,
                &call.day,
            ],
        )
        .await?;
    Ok(row.is_some())
}
