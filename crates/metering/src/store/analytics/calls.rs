//! The calls themselves, page by page in the order of time: a page begins behind the last row of the one before, so that however many
//! there are, only a page of them is in memory.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use uuid::Uuid;

use super::{Scope, column, filters, scoped};

/// Rows of a page.
pub const PAGE: usize = 2000;

/// The page of rows behind a place.
macro_rules! page {
    () => {
        concat!(
            " FROM analytics.provider_api_calls WHERE \"timestamp\" >= $3 AND \"timestamp\" < $4 AND ",
            filters!(),
            " AND (\"timestamp\", id) > ($11, $12) ORDER BY \"timestamp\", id LIMIT $13"
        )
    };
}

statements! {
    #![planned_anew]
    /// Calls in full.
    CALLS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT id, kind, adjusts, prices_call, operation_id, attempt, source, \"timestamp\", hour, day, provider, model, requested_model, \
           service_tier, operation, agent_id, session_id, task_id, task_type, api_key_id, provider_account_id, client_reference, \
           tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning, usage, usage_source, usage_mismatch, \
           cost_usd, cost_source, price_version, list_baseline_usd, like_baseline_usd, latency_ms, time_to_first_token_ms, streamed, \
           success, finish, status_code, error_message, provider_request_id, recorded_at",
        page!()
    );
    /// What calls used, to price it anew. Those without tokens or units cost the same anywhere.
    USED(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT id, kind, \"timestamp\", provider, model, service_tier, usage, usage_source, cost_usd", page!()
    );
}

/// A row of the calls.
#[derive(Debug, Clone, serde::Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns, which the migration describes")]
pub struct CallRow {
    pub id: Uuid,
    pub kind: String,
    pub adjusts: Option<Uuid>,
    pub prices_call: bool,
    pub operation_id: Uuid,
    pub attempt: i16,
    pub source: String,
    pub timestamp: DateTime<Utc>,
    pub hour: DateTime<Utc>,
    pub day: NaiveDate,
    pub provider: String,
    pub model: String,
    pub requested_model: Option<String>,
    pub service_tier: Option<String>,
    pub operation: String,
    pub agent_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub task_id: Option<Uuid>,
    pub task_type: Option<String>,
    pub api_key_id: Option<Uuid>,
    pub provider_account_id: Option<Uuid>,
    pub client_reference: Option<String>,
    pub tokens_input: i64,
    pub tokens_output: i64,
    pub tokens_cache_read: i64,
    pub tokens_cache_write: i64,
    pub tokens_reasoning: i64,
    pub usage: Value,
    pub usage_source: String,
    pub usage_mismatch: bool,
    pub cost_usd: Option<crate::Usd>,
    pub cost_source: String,
    pub price_version: Option<String>,
    pub list_baseline_usd: Option<crate::Usd>,
    pub like_baseline_usd: Option<crate::Usd>,
    pub latency_ms: i32,
    pub time_to_first_token_ms: Option<i32>,
    pub streamed: bool,
    pub success: bool,
    pub finish: String,
    pub status_code: Option<i16>,
    pub error_message: Option<String>,
    pub provider_request_id: Option<String>,
    pub recorded_at: DateTime<Utc>,
}

/// What a call used.
#[derive(Debug, Clone)]
pub struct UsedRow {
    /// Its id.
    pub id: Uuid,
    /// Whether it is a call, not an adjustment.
    pub is_call: bool,
    /// When it began.
    pub timestamp: DateTime<Utc>,
    /// Of whom.
    pub provider: String,
    /// Which model.
    pub model: String,
    /// The tier that served it.
    pub service_tier: Option<String>,
    /// The buckets, as they are stored.
    pub usage: Value,
    /// Where they are from.
    pub usage_source: String,
    /// What it cost.
    pub cost_usd: Option<Decimal>,
}

/// A place in the order of time: a row's timestamp and id.
pub type After = (DateTime<Utc>, Uuid);

/// Before all rows.
pub const START: After = (DateTime::UNIX_EPOCH, Uuid::nil());

/// The next page of calls; one that is not full is the last.
///
/// # Errors
/// Only the database's.
pub async fn page(tx: &mut TenantTx, scope: &Scope, after: After) -> Result<Vec<CallRow>, DbError> {
    let rows = scoped!(tx, query, &CALLS, scope, &after.0, &after.1, &limit())?;
    rows.iter().map(call).collect()
}

/// The next page of what calls used; one that is not full is the last.
///
/// # Errors
/// Only the database's.
pub async fn used(tx: &mut TenantTx, scope: &Scope, after: After) -> Result<Vec<UsedRow>, DbError> {
    let rows = scoped!(tx, query, &USED, scope, &after.0, &after.1, &limit())?;
    rows.iter()
        .map(|row| {
            let kind: &str = column!(row, "kind");
            Ok(UsedRow {
                id: column!(row, "id"),
                is_call: kind == "call",
                timestamp: column!(row, "timestamp"),
                provider: column!(row, "provider"),
                model: column!(row, "model"),
                service_tier: column!(row, "service_tier"),
                usage: column!(row, "usage"),
                usage_source: column!(row, "usage_source"),
                cost_usd: column!(row, "cost_usd"),
            })
        })
        .collect()
}

fn limit() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}

fn call(row: &Row) -> Result<CallRow, DbError> {
    use crate::Usd;
    let (cost, list, like): (Option<Decimal>, Option<Decimal>, Option<Decimal>) =
        (column!(row, "cost_usd"), column!(row, "list_baseline_usd"), column!(row, "like_baseline_usd"));
    Ok(CallRow {
        id: column!(row, "id"),
        kind: column!(row, "kind"),
        adjusts: column!(row, "adjusts"),
        prices_call: column!(row, "prices_call"),
        operation_id: column!(row, "operation_id"),
        attempt: column!(row, "attempt"),
        source: column!(row, "source"),
        timestamp: column!(row, "timestamp"),
        hour: column!(row, "hour"),
        day: column!(row, "day"),
        provider: column!(row, "provider"),
        model: column!(row, "model"),
        requested_model: column!(row, "requested_model"),
        service_tier: column!(row, "service_tier"),
        operation: column!(row, "operation"),
        agent_id: column!(row, "agent_id"),
        session_id: column!(row, "session_id"),
        task_id: column!(row, "task_id"),
        task_type: column!(row, "task_type"),
        api_key_id: column!(row, "api_key_id"),
        provider_account_id: column!(row, "provider_account_id"),
        client_reference: column!(row, "client_reference"),
        tokens_input: column!(row, "tokens_input"),
        tokens_output: column!(row, "tokens_output"),
        tokens_cache_read: column!(row, "tokens_cache_read"),
        tokens_cache_write: column!(row, "tokens_cache_write"),
        tokens_reasoning: column!(row, "tokens_reasoning"),
        usage: column!(row, "usage"),
        usage_source: column!(row, "usage_source"),
        usage_mismatch: column!(row, "usage_mismatch"),
        cost_usd: cost.map(Usd),
        cost_source: column!(row, "cost_source"),
        price_version: column!(row, "price_version"),
        list_baseline_usd: list.map(Usd),
        like_baseline_usd: like.map(Usd),
        latency_ms: column!(row, "latency_ms"),
        time_to_first_token_ms: column!(row, "time_to_first_token_ms"),
        streamed: column!(row, "streamed"),
        success: column!(row, "success"),
        finish: column!(row, "finish"),
        status_code: column!(row, "status_code"),
        error_message: column!(row, "error_message"),
        provider_request_id: column!(row, "provider_request_id"),
        recorded_at: column!(row, "recorded_at"),
    })
}
