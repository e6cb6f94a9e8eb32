//! Sums by whatever the hours' sums are kept by, and by task.

use chrono::{DateTime, NaiveDate, Utc};
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use workforce::text_enum;

use super::{Scope, all_sums, column, day, hourly, measures, raw, scoped};
use crate::Usd;
use crate::insight::Measures;
use crate::rollup::histogram::sum_of_histograms;

text_enum! {
    /// What calls are put together by.
    pub enum Dimension("grouping") {
        /// The provider.
        Provider = "provider",
        /// The model that answered, of a provider.
        Model = "model",
        /// The agent.
        Agent = "agent",
        /// The task; read from the calls themselves, so it takes longer.
        Task = "task",
        /// The API key.
        Key = "key",
        /// What was asked of the provider.
        Operation = "operation",
        /// The kind of work, in the tenant's words.
        TaskType = "task_type",
        /// The account at the provider.
        Account = "account",
    }
}

text_enum! {
    /// How long the steps of a series are, on the tenant's clock.
    pub enum Interval("interval") {
        /// An hour.
        Hour = "hour",
        /// A day.
        Day = "day",
        /// From Monday to Sunday.
        Week = "week",
        /// A calendar month.
        Month = "month",
    }
}

/// What a row is put together by. Text, so that one statement does for all.
macro_rules! key {
    () => {
        "CASE $11::text WHEN 'provider' THEN provider WHEN 'model' THEN model WHEN 'agent' THEN agent_id::text \
           WHEN 'task' THEN task_id::text WHEN 'key' THEN api_key_id::text WHEN 'operation' THEN operation \
           WHEN 'task_type' THEN task_type WHEN 'account' THEN provider_account_id::text END AS key, \
         CASE WHEN $11::text = 'model' THEN provider END AS of_provider"
    };
}
pub(super) use key;

/// A series of sums; groups after the first so many in order of cost are one.
macro_rules! series {
    ($source:expr) => {
        concat!(
            "WITH base AS MATERIALIZED (SELECT CASE $12::text WHEN 'week' THEN day - (extract(isodow FROM day)::int4 - 1) \
               WHEN 'month' THEN day - (extract(day FROM day)::int4 - 1) ELSE day END AS date, \
               CASE WHEN $12::text = 'hour' THEN hour END AS hour_start, ",
            key!(),
            ", ",
            all_sums!(),
            " FROM ",
            $source,
            " GROUP BY 1, 2, 3, 4), \
             weighed AS (SELECT *, sum(cost_usd) OVER (PARTITION BY key, of_provider) AS key_cost FROM base), \
             ranked AS (SELECT *, dense_rank() OVER (ORDER BY key_cost DESC, key, of_provider) AS rank FROM weighed) \
             SELECT least(rank, $13::int8 + 1) AS place, CASE WHEN rank <= $13::int8 THEN key END AS key, \
               CASE WHEN rank <= $13::int8 THEN of_provider END AS of_provider, date, hour_start, ",
            all_sums!(),
            " FROM ranked GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 4, 5"
        )
    };
}

statements! {
    #![planned_anew]
    /// Everything together.
    TOTAL(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT) =
        concat!("SELECT ", all_sums!(), " FROM ", hourly!());
    /// Everything together that the days' own sums know.
    TOTAL_OF_DAYS(DATE, DATE, TEXT, UUID) = concat!(
        "SELECT ", all_sums!(), " FROM (SELECT total_calls, 0::int8 AS operations, successful_calls, unpriced_calls, \
           0::int8 AS estimated_calls, 0::int8 AS unsettled_calls, total_cost_usd AS cost_usd, 0::numeric AS adjustments_usd, \
           0::numeric AS failed_cost_usd, 0::numeric AS estimated_cost_usd, total_tokens_input AS tokens_input, \
           total_tokens_output AS tokens_output, 0::int8 AS tokens_cache_read, 0::int8 AS tokens_cache_write, 0::int8 AS tokens_reasoning \
         FROM analytics.daily_metrics WHERE date >= $1 AND date <= $2 AND ($3::text IS NULL OR provider = $3) \
           AND ($4::uuid IS NULL OR agent_id = $4)) source"
    );
    /// Everything together, from the calls themselves.
    TOTAL_OF_CALLS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT) =
        concat!("SELECT ", all_sums!(), " FROM ", raw!());
    /// Everything, and the dearest providers, models and agents: of one walk over the hours.
    OVERVIEW(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, INT8) = concat!(
        "WITH base AS MATERIALIZED (SELECT provider, model, agent_id, ", all_sums!(), " FROM ", hourly!(), " GROUP BY 1, 2, 3) \
         SELECT 'all' AS part, NULL AS key, NULL AS of_provider, ", all_sums!(), " FROM base \
         UNION ALL (SELECT 'provider', provider, NULL, ", all_sums!(), " FROM base GROUP BY provider \
           ORDER BY sum(cost_usd) DESC, provider LIMIT $11) \
         UNION ALL (SELECT 'model', model, provider, ", all_sums!(), " FROM base GROUP BY provider, model \
           ORDER BY sum(cost_usd) DESC, model, provider LIMIT $11) \
         UNION ALL (SELECT 'agent', agent_id::text, NULL, ", all_sums!(), " FROM base GROUP BY agent_id \
           ORDER BY sum(cost_usd) DESC, agent_id LIMIT $11)"
    );
    /// A series from the hours' sums.
    SERIES(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, TEXT, TEXT, INT8) = series!(hourly!());
    /// A series from the calls themselves.
    SERIES_OF_CALLS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, TEXT, TEXT, INT8) = series!(raw!());
    /// What each day cost, from the days' own sums. They are made with the hours' and know providers and agents.
    DAYS(DATE, DATE, TEXT, UUID) =
        "SELECT date AS day, sum(total_cost_usd) AS cost_usd FROM analytics.daily_metrics \
         WHERE date >= $1 AND date <= $2 AND ($3::text IS NULL OR provider = $3) AND ($4::uuid IS NULL OR agent_id = $4) GROUP BY date ORDER BY date";
    /// What each day cost, from the hours' sums, which can be cut by everything.
    DAYS_OF_HOURS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT) = concat!(
        "SELECT day, sum(cost_usd) AS cost_usd FROM ", hourly!(), " GROUP BY day ORDER BY day"
    );
    /// Providers side by side, with their latencies.
    PROVIDERS(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, BOOL, INT8) = concat!(
        "SELECT provider, CASE WHEN $11 THEN model END AS model, ", all_sums!(), ", coalesce(sum(latency_ms), 0)::int8 AS latency_ms, \
           coalesce(sum(first_token_ms), 0)::int8 AS first_token_ms, coalesce(sum(first_token_calls), 0)::int8 AS first_token_calls, ",
        sum_of_histograms!(), " AS latency_histogram \
         FROM ", hourly!(), " GROUP BY 1, 2 ORDER BY sum(cost_usd) DESC, 1, 2 LIMIT $12"
    );
    /// Days with their sums in full, one line for each thing that the hours' sums are kept by. Of one day at a time, so that the
    /// lines of a long period are never all in memory.
    LINES(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT) = concat!(
        "SELECT day, provider, model, operation, agent_id, api_key_id, provider_account_id, task_type, ", all_sums!(),
        " FROM ", hourly!(), " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"
    );
}

/// Everything together.
///
/// # Errors
/// Only the database's.
pub async fn total(tx: &mut TenantTx, scope: &Scope) -> Result<Measures, DbError> {
    measures(&scoped!(tx, query_one, &TOTAL, scope)?)
}

/// Calls, tokens and cost together, from the days' own sums, which outlive all others. They know providers and agents, and nothing more.
///
/// # Errors
/// Only the database's.
pub async fn total_of_days(tx: &mut TenantTx, scope: &Scope) -> Result<Measures, DbError> {
    let (from, to) = (scope.period.from(), scope.period.to());
    measures(&tx.query_one(&TOTAL_OF_DAYS, &[&from, &to, &scope.provider, &scope.agent_id]).await?)
}

/// Everything together, from the calls themselves.
///
/// # Errors
/// Only the database's.
pub async fn total_of_calls(tx: &mut TenantTx, scope: &Scope) -> Result<Measures, DbError> {
    measures(&scoped!(tx, query_one, &TOTAL_OF_CALLS, scope)?)
}

/// A group with its sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What it is: a name or an id; `None` for calls that have none.
    pub key: Option<String>,
    /// Whose model it is.
    pub provider: Option<String>,
    /// Its sums.
    pub measures: Measures,
}

fn group(row: &Row) -> Result<Group, DbError> {
    Ok(Group { key: column!(row, "key"), provider: column!(row, "of_provider"), measures: measures(row)? })
}

/// The sums of a period, and its dearest groups.
#[derive(Debug, Default)]
pub struct Overview {
    /// Everything.
    pub total: Measures,
    /// The dearest providers.
    pub providers: Vec<Group>,
    /// The dearest models.
    pub models: Vec<Group>,
    /// The dearest agents.
    pub agents: Vec<Group>,
}

/// The sums of a period, and its dearest groups.
///
/// # Errors
/// Only the database's.
pub async fn overview(tx: &mut TenantTx, scope: &Scope, limit: i64) -> Result<Overview, DbError> {
    let mut overview = Overview::default();
    for row in scoped!(tx, query, &OVERVIEW, scope, &limit)? {
        let part: &str = column!(row, "part");
        let group = group(&row)?;
        match part {
            "provider" => overview.providers.push(group),
            "model" => overview.models.push(group),
            "agent" => overview.agents.push(group),
            _ => overview.total = group.measures,
        }
    }
    Ok(overview)
}

/// One step of a group's series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The group's place in the order of cost, from 1.
    pub place: i64,
    /// The group; without meaning for the one after the last.
    pub key: Option<String>,
    /// Whose model it is.
    pub provider: Option<String>,
    /// The day that the step begins on.
    pub date: NaiveDate,
    /// The instant, for hours.
    pub hour: Option<DateTime<Utc>>,
    /// Its sums.
    pub measures: Measures,
}

/// A series of each of the `limit` dearest groups, and one of all others in the place after them. Without a dimension everything is
/// one group.
///
/// # Errors
/// Only the database's.
pub async fn series(
    tx: &mut TenantTx,
    scope: &Scope,
    by: Option<Dimension>,
    interval: Interval,
    limit: i64,
) -> Result<Vec<Step>, DbError> {
    let statement = if by == Some(Dimension::Task) { &SERIES_OF_CALLS } else { &SERIES };
    let by = by.map(Dimension::as_str);
    let rows = scoped!(tx, query, statement, scope, &by, &interval.as_str(), &limit)?;
    rows.iter()
        .map(|row| {
            Ok(Step {
                place: column!(row, "place"),
                key: column!(row, "key"),
                provider: column!(row, "of_provider"),
                date: day(row, "date")?,
                hour: column!(row, "hour_start"),
                measures: measures(row)?,
            })
        })
        .collect()
}

/// What each day cost; days without calls are left out.
///
/// # Errors
/// Only the database's.
pub async fn days(tx: &mut TenantTx, scope: &Scope) -> Result<Vec<(NaiveDate, Usd)>, DbError> {
    let rows = if scope.is_beyond_providers_and_agents() {
        scoped!(tx, query, &DAYS_OF_HOURS, scope)?
    } else {
        tx.query(&DAYS, &[&scope.period.from(), &scope.period.to(), &scope.provider, &scope.agent_id]).await?
    };
    rows.iter().map(|row| Ok((day(row, "day")?, Usd(column!(row, "cost_usd"))))).collect()
}

/// A provider, or one of its models, with its latencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSums {
    /// The provider.
    pub provider: String,
    /// The model, where it is by model.
    pub model: Option<String>,
    /// Its sums.
    pub measures: Measures,
    /// All latencies together.
    pub latency_ms: i64,
    /// Times to the first token together.
    pub first_token_ms: i64,
    /// Calls that have one.
    pub first_token_calls: i64,
    /// Calls by latency.
    pub histogram: Vec<i64>,
}

/// Providers, or their models, the dearest first.
///
/// # Errors
/// Only the database's.
pub async fn providers(
    tx: &mut TenantTx,
    scope: &Scope,
    by_model: bool,
    limit: i64,
) -> Result<Vec<ProviderSums>, DbError> {
    let rows = scoped!(tx, query, &PROVIDERS, scope, &by_model, &limit)?;
    rows.iter()
        .map(|row| {
            Ok(ProviderSums {
                provider: column!(row, "provider"),
                model: column!(row, "model"),
                measures: measures(row)?,
                latency_ms: column!(row, "latency_ms"),
                first_token_ms: column!(row, "first_token_ms"),
                first_token_calls: column!(row, "first_token_calls"),
                histogram: column!(row, "latency_histogram"),
            })
        })
        .collect()
}

/// The sums of a day for one of each thing that they are kept by.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns of the calls")]
pub struct Line {
    pub day: NaiveDate,
    pub provider: String,
    pub model: String,
    pub operation: String,
    pub agent_id: Option<uuid::Uuid>,
    pub api_key_id: Option<uuid::Uuid>,
    pub provider_account_id: Option<uuid::Uuid>,
    pub task_type: Option<String>,
    #[serde(flatten)]
    pub measures: Measures,
}

/// The lines of the days of a scope.
///
/// # Errors
/// Only the database's.
pub async fn lines(tx: &mut TenantTx, scope: &Scope) -> Result<Vec<Line>, DbError> {
    let rows = scoped!(tx, query, &LINES, scope)?;
    rows.iter()
        .map(|row| {
            Ok(Line {
                day: day(row, "day")?,
                provider: column!(row, "provider"),
                model: column!(row, "model"),
                operation: column!(row, "operation"),
                agent_id: column!(row, "agent_id"),
                api_key_id: column!(row, "api_key_id"),
                provider_account_id: column!(row, "provider_account_id"),
                task_type: column!(row, "task_type"),
                measures: measures(row)?,
            })
        })
        .collect()
}
