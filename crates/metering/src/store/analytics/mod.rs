//! What a tenant asks of its own calls. Each statement reads as the tenant's role, so none names the tenant: row level security does.
//!
//! There are two sources with the same columns: the sums of hours, which nearly everything is made of, and the calls themselves, for
//! what the sums do not keep (tasks). Both are cut by the day that is stored with the row; the hour or the timestamp beside it only
//! leaves out partitions.

pub mod calls;
pub mod roi;
pub mod sums;
pub mod tasks;

use chrono::{DateTime, NaiveDate, Utc};
use tenantry_postgres::{DbError, Row, Statement, TenantTx, statements};
use uuid::Uuid;

use crate::Usd;
use crate::insight::{Measures, Period, Tokens};

/// Every statement on the analytics, for the test that prepares each against the migrated schema.
#[must_use]
pub fn statements() -> Vec<&'static Statement> {
    [STATEMENTS, calls::STATEMENTS, roi::STATEMENTS, sums::STATEMENTS, tasks::STATEMENTS].concat()
}

/// Which calls. The first ten parameters of every statement that reads them.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The days.
    pub period: Period,
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only of this model.
    pub model: Option<String>,
    /// Only of this agent.
    pub agent_id: Option<Uuid>,
    /// Only with this key.
    pub api_key_id: Option<Uuid>,
    /// Only of this operation.
    pub operation: Option<String>,
    /// Only for this kind of work.
    pub task_type: Option<String>,
}

impl Scope {
    /// The same calls of another period.
    #[must_use]
    pub fn in_period(&self, period: Period) -> Self {
        Self { period, ..self.clone() }
    }

    /// Whether it is cut by more than providers and agents, which is all that outcomes of tasks know.
    #[must_use]
    pub const fn is_beyond_providers_and_agents(&self) -> bool {
        self.model.is_some() || self.api_key_id.is_some() || self.operation.is_some() || self.task_type.is_some()
    }
}

/// Runs a statement with the ten parameters of a [`Scope`] and some more.
macro_rules! scoped {
    ($tx:expr, $method:ident, $statement:expr, $scope:expr $(, $more:expr)*) => {{
        let scope: &$crate::store::analytics::Scope = $scope;
        let (low, high) = scope.period.reach();
        $tx.$method(
            $statement,
            &[
                &scope.period.from(),
                &scope.period.to(),
                &low,
                &high,
                &scope.provider,
                &scope.model,
                &scope.agent_id,
                &scope.api_key_id,
                &scope.operation,
                &scope.task_type,
                $($more),*
            ],
        )
        .await
    }};
}
pub(super) use scoped;

/// The conditions of a [`Scope`] but for what leaves out partitions.
macro_rules! filters {
    () => {
        "day >= $1 AND day <= $2 AND ($5::text IS NULL OR provider = $5) AND ($6::text IS NULL OR model = $6) \
         AND ($7::uuid IS NULL OR agent_id = $7) AND ($8::uuid IS NULL OR api_key_id = $8) \
         AND ($9::text IS NULL OR operation = $9) AND ($10::text IS NULL OR task_type = $10)"
    };
}
pub(super) use filters;

/// The sums of hours, as a source.
macro_rules! hourly {
    () => {
        concat!(
            "(SELECT *, NULL::uuid AS task_id FROM analytics.hourly_metrics WHERE hour >= $3 AND hour < $4 AND ",
            $crate::store::analytics::filters!(),
            ") source"
        )
    };
}
pub(super) use hourly;

/// The calls themselves, as a source with the same columns.
macro_rules! raw {
    () => {
        concat!(
            "(SELECT hour, day, provider, model, operation, agent_id, api_key_id, provider_account_id, task_type, task_id, \
               CASE WHEN kind = 'call' THEN 1::int8 ELSE 0 END AS total_calls, \
               CASE WHEN kind = 'call' AND attempt = 1 THEN 1::int8 ELSE 0 END AS operations, \
               CASE WHEN kind = 'call' AND success THEN 1::int8 ELSE 0 END AS successful_calls, \
               CASE WHEN kind = 'call' AND cost_usd IS NULL THEN 1::int8 WHEN kind = 'adjustment' AND prices_call THEN -1 ELSE 0 END AS unpriced_calls, \
               CASE WHEN kind = 'call' AND usage_source = 'estimated' THEN 1::int8 ELSE 0 END AS estimated_calls, \
               CASE WHEN kind = 'call' AND usage_source = 'unsettled' THEN 1::int8 ELSE 0 END AS unsettled_calls, \
               coalesce(cost_usd, 0) AS cost_usd, \
               CASE WHEN kind = 'adjustment' THEN coalesce(cost_usd, 0) ELSE 0 END AS adjustments_usd, \
               CASE WHEN NOT success THEN coalesce(cost_usd, 0) ELSE 0 END AS failed_cost_usd, \
               CASE WHEN usage_source IN ('estimated', 'unsettled') THEN coalesce(cost_usd, 0) ELSE 0 END AS estimated_cost_usd, \
               tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning \
             FROM analytics.provider_api_calls WHERE \"timestamp\" >= $3 AND \"timestamp\" < $4 AND ",
            $crate::store::analytics::filters!(),
            ") source"
        )
    };
}
pub(super) use raw;

/// The sums that [`measures`] reads, of a source.
macro_rules! all_sums {
    () => {
        "coalesce(sum(total_calls), 0)::int8 AS total_calls, coalesce(sum(operations), 0)::int8 AS operations, \
         coalesce(sum(successful_calls), 0)::int8 AS successful_calls, coalesce(sum(unpriced_calls), 0)::int8 AS unpriced_calls, \
         coalesce(sum(estimated_calls), 0)::int8 AS estimated_calls, coalesce(sum(unsettled_calls), 0)::int8 AS unsettled_calls, \
         coalesce(sum(cost_usd), 0) AS cost_usd, coalesce(sum(adjustments_usd), 0) AS adjustments_usd, \
         coalesce(sum(failed_cost_usd), 0) AS failed_cost_usd, coalesce(sum(estimated_cost_usd), 0) AS estimated_cost_usd, \
         coalesce(sum(tokens_input), 0)::int8 AS tokens_input, coalesce(sum(tokens_output), 0)::int8 AS tokens_output, \
         coalesce(sum(tokens_cache_read), 0)::int8 AS tokens_cache_read, \
         coalesce(sum(tokens_cache_write), 0)::int8 AS tokens_cache_write, \
         coalesce(sum(tokens_reasoning), 0)::int8 AS tokens_reasoning"
    };
}
pub(super) use all_sums;

/// Reads one column by name. A macro, because the conversion needs the database's error on the way.
macro_rules! column {
    ($row:expr, $name:literal) => {
        $row.try_get($name).map_err(::tenantry_postgres::DbError::from)?
    };
}
pub(super) use column;

statements! {
    /// How many hours of these days are to be summed anew, and when the newest calls were recorded.
    FRESHNESS(DATE, DATE) =
        "SELECT (SELECT count(*) FROM analytics.dirty_hours WHERE day >= $1 AND day <= $2) AS pending_hours, \
           (SELECT max(recorded_at) FROM (SELECT recorded_at FROM analytics.provider_api_calls ORDER BY \"timestamp\" DESC LIMIT 50) newest) \
             AS data_as_of";
    /// What agents are called.
    AGENT_NAMES(UUID_ARRAY) = "SELECT id, name FROM tenant.agents WHERE id = ANY ($1)";
}

/// How fresh the sums of a period are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Hours whose sums are older than their calls.
    pub pending_hours: i64,
    /// When the newest call was recorded.
    pub data_as_of: Option<DateTime<Utc>>,
}

/// How fresh the sums of a period are.
///
/// # Errors
/// Only the database's.
pub async fn freshness(tx: &mut TenantTx, period: &Period) -> Result<Freshness, DbError> {
    let row = tx.query_one(&FRESHNESS, &[&period.from(), &period.to()]).await?;
    Ok(Freshness { pending_hours: column!(row, "pending_hours"), data_as_of: column!(row, "data_as_of") })
}

/// What these agents are called, as far as they exist.
///
/// # Errors
/// Only the database's.
pub async fn agent_names(tx: &mut TenantTx, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.query(&AGENT_NAMES, &[&ids]).await?;
    rows.iter().map(|row| Ok((column!(row, "id"), column!(row, "name")))).collect()
}

/// Reads the columns of `all_sums!`.
fn measures(row: &Row) -> Result<Measures, DbError> {
    let (calls, successful): (i64, i64) = (column!(row, "total_calls"), column!(row, "successful_calls"));
    Ok(Measures {
        calls,
        operations: column!(row, "operations"),
        failed_calls: calls - successful,
        unpriced_calls: column!(row, "unpriced_calls"),
        estimated_calls: column!(row, "estimated_calls"),
        unsettled_calls: column!(row, "unsettled_calls"),
        cost_usd: Usd(column!(row, "cost_usd")),
        adjustments_usd: Usd(column!(row, "adjustments_usd")),
        failed_cost_usd: Usd(column!(row, "failed_cost_usd")),
        estimated_cost_usd: Usd(column!(row, "estimated_cost_usd")),
        tokens: Tokens {
            input: column!(row, "tokens_input"),
            output: column!(row, "tokens_output"),
            cache_read: column!(row, "tokens_cache_read"),
            cache_write: column!(row, "tokens_cache_write"),
            reasoning: column!(row, "tokens_reasoning"),
        },
    })
}

/// The day of a row that has one.
fn day(row: &Row, name: &'static str) -> Result<NaiveDate, DbError> {
    row.try_get(name).map_err(DbError::from)
}
