//! Rows of calls into the shared tables, with everything that must change together with them.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterTx, statements};
use uuid::Uuid;

use crate::call::{Call, Source};

/// The columns, in the order in which they are sent.
macro_rules! columns {
    () => {
        "tenant_id, id, \"timestamp\", kind, adjusts, prices_call, operation_id, attempt, source, agent_id, session_id, task_id, \
         api_key_id, provider_account_id, task_type, client_reference, provider, operation, model, requested_model, service_tier, \
         tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning, usage, usage_source, usage_mismatch, \
         cost_usd, cost_source, price_version, rates, list_baseline_usd, like_baseline_usd, optimal, latency_ms, \
         time_to_first_token_ms, streamed, success, error_message, finish, status_code, provider_request_id, hour, day"
    };
}

/// The table for rows on their way: one for each connection, emptied with each transaction, and for each batch of one. Nothing of it is logged, and nothing is kept of it.
const STAGE: &str = "CREATE TEMPORARY TABLE IF NOT EXISTS tenantry_booking (
    n integer, tenant_id uuid, id uuid, \"timestamp\" timestamptz, kind text, adjusts uuid, prices_call boolean, operation_id uuid,
    attempt smallint, source text, agent_id uuid, session_id uuid, task_id uuid, api_key_id uuid, provider_account_id uuid, task_type text,
    client_reference text, provider text, operation text, model text, requested_model text, service_tier text, tokens_input bigint,
    tokens_output bigint, tokens_cache_read bigint, tokens_cache_write bigint, tokens_reasoning bigint, usage text, usage_source text,
    usage_mismatch boolean, cost_usd numeric, cost_source text, price_version text, rates text, list_baseline_usd numeric,
    like_baseline_usd numeric, optimal boolean, latency_ms integer, time_to_first_token_ms integer, streamed boolean, success boolean,
    error_message text, finish text, status_code smallint, provider_request_id text, hour timestamptz, day date) ON COMMIT DELETE ROWS; \
    DELETE FROM pg_temp.tenantry_booking";

/// Of one kind, so that their sums are numbers of the database.
const MOST_TOKENS: u64 = 1 << 48;

statements! {
    /// Rows on their way.
    STAGE_CALLS(
        INT4, UUID, UUID, TIMESTAMPTZ, TEXT, UUID, BOOL, UUID, INT2, TEXT, UUID, UUID, UUID, UUID, UUID, TEXT, TEXT, TEXT, TEXT, TEXT,
        TEXT, TEXT, INT8, INT8, INT8, INT8, INT8, TEXT, TEXT, BOOL, NUMERIC, TEXT, TEXT, TEXT, NUMERIC, NUMERIC, BOOL, INT4, INT4, BOOL,
        BOOL, TEXT, TEXT, INT2, TEXT, TIMESTAMPTZ, DATE
    ) = "COPY pg_temp.tenantry_booking FROM STDIN (FORMAT binary)";
    /// The tenants of a batch, held until the end: by tenant, so that no two wait for each other.
    HOLD_TENANTS() = "INSERT INTO analytics.arrivals AS a (tenant_id, last_at) \
        SELECT DISTINCT tenant_id, now() FROM pg_temp.tenantry_booking ORDER BY tenant_id \
        ON CONFLICT (tenant_id) DO UPDATE SET last_at = greatest(a.last_at, excluded.last_at)";
    /// Removes what holding purged tenants has left.
    RELEASE_PURGED(UUID_ARRAY) = "DELETE FROM analytics.arrivals WHERE tenant_id = ANY ($1)";
    /// Books what is new, and gives what was not, or is of a tenant that was purged. A statement of its own after the tenants are held: it sees
    /// what was booked and purged until then.
    /// A mark that is there is written as it is: its age stays, and whoever makes the hour's sums sees that there is more.
    BOOK_CALLS(INT8) = concat!(
        "WITH fresh AS (INSERT INTO analytics.provider_api_calls (", columns!(), ") \
           SELECT tenant_id, id, \"timestamp\", kind, adjusts, prices_call, operation_id, attempt, source, agent_id, session_id, task_id, \
             api_key_id, provider_account_id, task_type, client_reference, provider, operation, model, requested_model, service_tier, \
             tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning, usage::jsonb, usage_source, usage_mismatch, \
             cost_usd, cost_source, price_version, rates::jsonb, list_baseline_usd, like_baseline_usd, optimal, latency_ms, \
             time_to_first_token_ms, streamed, success, error_message, finish, status_code, provider_request_id, hour, day \
           FROM pg_temp.tenantry_booking b \
           WHERE (b.source <> 'api' OR (SELECT p.id FROM analytics.provider_api_calls p WHERE p.tenant_id = b.tenant_id AND p.id = b.id LIMIT 1) IS NULL) \
             AND NOT EXISTS (SELECT FROM analytics.purged_tenants g WHERE g.id = b.tenant_id) \
           ON CONFLICT DO NOTHING \
           RETURNING tenant_id, id, \"timestamp\", kind, prices_call, agent_id, api_key_id, cost_usd, hour, day), \
         counted AS (INSERT INTO analytics.spend_counters AS c (tenant_id, scope, scope_id, day, cost_usd, calls, unpriced_calls) \
           SELECT f.tenant_id, s.scope, s.scope_id, f.day, coalesce(sum(f.cost_usd), 0), count(*) FILTER (WHERE f.kind = 'call'), \
             count(*) FILTER (WHERE f.kind = 'call' AND f.cost_usd IS NULL) - count(*) FILTER (WHERE f.kind = 'adjustment' AND f.prices_call) \
           FROM fresh f CROSS JOIN LATERAL (VALUES ('tenant', f.tenant_id), ('agent', f.agent_id), ('key', f.api_key_id)) s (scope, scope_id) \
           WHERE s.scope_id IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 \
           ON CONFLICT (tenant_id, scope, scope_id, day) DO UPDATE SET cost_usd = c.cost_usd + excluded.cost_usd, \
             calls = c.calls + excluded.calls, unpriced_calls = c.unpriced_calls + excluded.unpriced_calls), \
         marked AS (INSERT INTO analytics.dirty_hours AS d (tenant_id, hour, day) \
           SELECT DISTINCT tenant_id, hour, day FROM fresh ORDER BY 1, 2, 3 \
           ON CONFLICT (tenant_id, hour, day) DO UPDATE SET marked_at = d.marked_at) \
         SELECT b.n, EXISTS (SELECT FROM analytics.purged_tenants g WHERE g.id = b.tenant_id) AS purged FROM pg_temp.tenantry_booking b \
         LEFT JOIN fresh f ON f.tenant_id = b.tenant_id AND f.id = b.id AND f.\"timestamp\" = b.\"timestamp\" \
         WHERE (SELECT count(*) FROM fresh) < $1 AND f.id IS NULL"
    );
    /// Which of these months have no partition.
    MISSING_MONTHS(TEXT_ARRAY) = "SELECT m FROM unnest($1) m WHERE to_regclass('analytics.provider_api_calls_' || m) IS NULL";
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Booked {
    /// The places of the calls that were not there before.
    pub new: Vec<usize>,
    /// The places of those of tenants that were purged: they are not booked.
    pub purged: Vec<usize>,
}

/// Books calls in the given transaction: the rows, the counters of what was spent and the marks of their hours. Gives the places of
/// those that were not there before; for all others nothing changes.
///
/// # Errors
/// As [`book_batch`].
pub async fn book(tx: &MeterTx, calls: &[Call]) -> Result<Vec<usize>, DbError> {
    Ok(book_batch(tx, calls).await?.new)
}

/// As [`book`], and tells of what is dropped because its tenant was purged while it waited: a purged tenant's data does not come back.
///
/// A row is there when its tenant has one with the same id and timestamp. What a tenant reports by itself (`api`) is there when the tenant
/// has any row with that id: whoever repeats a report need not know when the first one was taken to be.
///
/// # Errors
/// [`DbError`]; the transaction can only be undone then.
pub async fn book_batch(tx: &MeterTx, calls: &[Call]) -> Result<Booked, DbError> {
    let candidates = first_ones(calls);
    if candidates.is_empty() {
        return Ok(Booked::default());
    }
    tx.batch(STAGE).await?;
    let mut copy = tx.copy_in(&STAGE_CALLS).await?;
    for place in &candidates {
        send(&mut copy, index(*place)?, &calls[*place]).await?;
    }
    copy.finish().await?;
    tx.execute_again(&HOLD_TENANTS, &[]).await?;
    let count = i64::from(index(candidates.len())?);
    let rows = tx.query_again(&BOOK_CALLS, &[&count]).await?;
    let not_new: HashMap<i32, bool> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut booked = Booked::default();
    for place in candidates {
        match not_new.get(&index(place)?) {
            None => booked.new.push(place),
            Some(true) => booked.purged.push(place),
            Some(false) => {}
        }
    }
    if !booked.purged.is_empty() {
        let tenants: HashSet<Uuid> = booked.purged.iter().map(|place| *calls[*place].tenant_id.as_uuid()).collect();
        tx.execute(&RELEASE_PURGED, &[&tenants.into_iter().collect::<Vec<_>>()]).await?;
    }
    Ok(booked)
}

/// Which of these months, such as `2026_11`, have no partition.
///
/// # Errors
/// [`DbError`].
pub async fn missing_months(tx: &MeterTx, months: &[String]) -> Result<Vec<String>, DbError> {
    Ok(tx.query(&MISSING_MONTHS, &[&months]).await?.iter().map(|row| row.get(0)).collect())
}

/// The calls without those that repeat an earlier one of the same batch.
fn first_ones(calls: &[Call]) -> Vec<usize> {
    let mut seen: HashMap<(TenantId, Uuid), Vec<DateTime<Utc>>> = HashMap::with_capacity(calls.len());
    let mut first = |call: &Call| {
        let before = seen.entry((call.tenant_id, call.id)).or_default();
        let is_new = if call.source == Source::Api { before.is_empty() } else { !before.contains(&call.timestamp) };
        before.push(call.timestamp);
        is_new
    };
    calls.iter().enumerate().filter(|(_, call)| first(call)).map(|(place, _)| place).collect()
}

fn index(place: usize) -> Result<i32, DbError> {
    i32::try_from(place).map_err(|_| DbError::Misuse("a batch has too many calls"))
}

async fn send(copy: &mut tenantry_postgres::MeterCopy, n: i32, call: &Call) -> Result<(), DbError> {
    let (usage, cost, of) = (&call.usage, &call.cost, &call.attribution);
    let buckets = [
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.cache_write_1h,
        usage.audio_input,
        usage.output,
        usage.reasoning,
        usage.audio_output,
    ];
    if buckets.iter().any(|tokens| *tokens > MOST_TOKENS) {
        return Err(DbError::Misuse("a call counts more tokens than there can be"));
    }
    let tokens =
        |count: u64| i64::try_from(count).map_err(|_| DbError::Misuse("a call counts more tokens than there can be"));
    let (input, output) = (tokens(usage.tokens_input())?, tokens(usage.tokens_output())?);
    let (cache_read, reasoning) = (tokens(usage.cache_read)?, tokens(usage.reasoning)?);
    let cache_write = tokens(usage.cache_write + usage.cache_write_1h)?;
    let buckets = serde_json::to_string(usage).map_err(|_| DbError::Misuse("a usage cannot be written as JSON"))?;
    let rates = cost.rates.as_ref().map(ToString::to_string);
    copy.row(&[
        &n,
        call.tenant_id.as_uuid(),
        &call.id,
        &call.timestamp,
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
        &input,
        &output,
        &cache_read,
        &cache_write,
        &reasoning,
        &buckets,
        &call.usage_source.as_str(),
        &call.usage_mismatch,
        &cost.cost_usd,
        &cost.cost_source.as_str(),
        &cost.price_version,
        &rates,
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
        &call.hour,
        &call.day,
    ])
    .await
}
