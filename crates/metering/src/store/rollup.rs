//! Marked hours, and the sums of hours and days.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use tenantry_core::TenantId;
use tenantry_postgres::{DbError, MeterTx, statements};

use crate::rollup::histogram::{histogram_of_parts, sum_of_histograms};

macro_rules! group {
    () => {
        "provider, model, operation, agent_id, api_key_id, provider_account_id, task_type"
    };
}

statements! {
    /// The database's time: marks are by it, whatever the clocks of servers say.
    NOW() = "SELECT clock_timestamp()";

    /// Hours that have been marked for so long (in seconds), of one tenant or of all, those first that wait longest.
    DUE(TIMESTAMPTZ, UUID, INT8) = "SELECT tenant_id, hour, day FROM analytics.dirty_hours \
        WHERE marked_at <= $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY marked_at LIMIT $3";

    /// How many hours are marked, and since when the first.
    LAG(UUID) = "SELECT count(*), min(marked_at), clock_timestamp() FROM analytics.dirty_hours WHERE $1::uuid IS NULL OR tenant_id = $1";

    /// The day's row, unless somebody else holds it.
    HOLD_FREE(UUID, DATE) = "SELECT FROM analytics.rolled_days WHERE tenant_id = $1 AND day = $2 FOR UPDATE SKIP LOCKED";
    /// The day's row, in the end.
    HOLD(UUID, DATE) = "SELECT FROM analytics.rolled_days WHERE tenant_id = $1 AND day = $2 FOR UPDATE";
    /// A row for a day, where there is none: the conflict alone would wait for whoever writes the row.
    KNOW(UUID, DATE) = "INSERT INTO analytics.rolled_days (tenant_id, day) SELECT $1, $2 \
        WHERE NOT EXISTS (SELECT FROM analytics.rolled_days WHERE tenant_id = $1 AND day = $2) ON CONFLICT DO NOTHING";
    /// The sums of the day are made.
    ROLLED(UUID, DATE, TIMESTAMPTZ) = "UPDATE analytics.rolled_days SET rolled_at = $3 WHERE tenant_id = $1 AND day = $2";

    /// Which version of an hour's mark is there: that of the transaction that wrote it.
    READ_MARK(UUID, TIMESTAMPTZ, DATE) = "SELECT xmin::text, clock_timestamp() FROM analytics.dirty_hours \
        WHERE tenant_id = $1 AND hour = $2 AND day = $3";
    /// Removes a mark that nobody has written since it was read. One that is being written is waited for, and seen as it is then.
    UNMARK(UUID, TIMESTAMPTZ, DATE, TEXT) = "DELETE FROM analytics.dirty_hours \
        WHERE tenant_id = $1 AND hour = $2 AND day = $3 AND xmin::text = $4";
    /// Removes a mark, whatever it is.
    UNMARK_BLINDLY(UUID, TIMESTAMPTZ, DATE) = "DELETE FROM analytics.dirty_hours WHERE tenant_id = $1 AND hour = $2 AND day = $3";
    /// A mark that stays: what is not in the sums came after this.
    KEEP_MARK(UUID, TIMESTAMPTZ, DATE, TIMESTAMPTZ) = "UPDATE analytics.dirty_hours SET marked_at = greatest(marked_at, $4) \
        WHERE tenant_id = $1 AND hour = $2 AND day = $3";

    /// Removes the sums of an hour, and gives how many calls they had.
    CLEAR_HOUR(UUID, TIMESTAMPTZ, DATE) = "WITH gone AS (\
            DELETE FROM analytics.hourly_metrics WHERE tenant_id = $1 AND hour = $2 AND day = $3 RETURNING total_calls) \
        SELECT coalesce(sum(total_calls), 0)::bigint FROM gone";

    /// Makes the sums of an hour from its calls, and gives how many those are. The inner query passes over the calls once, the outer one
    /// puts a group's latency buckets side by side.
    SUM_HOUR(UUID, TIMESTAMPTZ, DATE, TIMESTAMPTZ) = concat!("WITH made AS (\
        INSERT INTO analytics.hourly_metrics (tenant_id, hour, day, ", group!(), ", total_calls, operations, successful_calls, unpriced_calls, \
            estimated_calls, unsettled_calls, cost_usd, adjustments_usd, failed_cost_usd, estimated_cost_usd, covered_calls, covered_cost_usd, \
            list_baseline_usd, like_baseline_usd, optimal_calls, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, \
            tokens_reasoning, latency_ms, latency_histogram, first_token_ms, first_token_calls) \
        SELECT $1, $2, $3, ", group!(), ", sum(calls), sum(operations), sum(successful), sum(unpriced), \
            sum(estimated), sum(unsettled), sum(cost), sum(adjustments), sum(failed_cost), sum(estimated_cost), sum(covered), sum(covered_cost), \
            sum(list_baseline), sum(like_baseline), sum(optimal), sum(tokens_input), sum(tokens_output), sum(cache_read), sum(cache_write), \
            sum(reasoning), sum(latency), ", histogram_of_parts!(), ", sum(first_token), sum(first_token_calls) \
        FROM (SELECT ", group!(), ", \
                CASE kind WHEN 'call' THEN width_bucket(latency_ms, analytics.latency_bounds()) END AS bucket, \
                count(*) FILTER (WHERE kind = 'call') AS calls, \
                count(*) FILTER (WHERE kind = 'call' AND attempt = 1) AS operations, \
                count(*) FILTER (WHERE kind = 'call' AND success) AS successful, \
                count(*) FILTER (WHERE kind = 'call' AND cost_usd IS NULL) \
                    - count(*) FILTER (WHERE kind = 'adjustment' AND prices_call) AS unpriced, \
                count(*) FILTER (WHERE kind = 'call' AND usage_source = 'estimated') AS estimated, \
                count(*) FILTER (WHERE kind = 'call' AND usage_source = 'unsettled') AS unsettled, \
                coalesce(sum(cost_usd), 0) AS cost, \
                coalesce(sum(cost_usd) FILTER (WHERE kind = 'adjustment'), 0) AS adjustments, \
                coalesce(sum(cost_usd) FILTER (WHERE NOT success), 0) AS failed_cost, \
                coalesce(sum(cost_usd) FILTER (WHERE usage_source IN ('estimated', 'unsettled')), 0) AS estimated_cost, \
                count(*) FILTER (WHERE (kind = 'call' OR prices_call) AND cost_usd IS NOT NULL AND list_baseline_usd IS NOT NULL) AS covered, \
                coalesce(sum(cost_usd) FILTER (WHERE list_baseline_usd IS NOT NULL), 0) AS covered_cost, \
                coalesce(sum(list_baseline_usd) FILTER (WHERE cost_usd IS NOT NULL), 0) AS list_baseline, \
                coalesce(sum(coalesce(like_baseline_usd, cost_usd)) FILTER (WHERE list_baseline_usd IS NOT NULL AND cost_usd IS NOT NULL), 0) AS like_baseline, \
                count(*) FILTER (WHERE (kind = 'call' OR prices_call) AND cost_usd IS NOT NULL AND list_baseline_usd IS NOT NULL AND optimal) AS optimal, \
                sum(tokens_input) AS tokens_input, sum(tokens_output) AS tokens_output, sum(tokens_cache_read) AS cache_read, \
                sum(tokens_cache_write) AS cache_write, sum(tokens_reasoning) AS reasoning, \
                coalesce(sum(latency_ms) FILTER (WHERE kind = 'call'), 0) AS latency, \
                coalesce(sum(time_to_first_token_ms), 0) AS first_token, count(time_to_first_token_ms) AS first_token_calls \
              FROM analytics.provider_api_calls \
              WHERE tenant_id = $1 AND \"timestamp\" >= $2 AND \"timestamp\" < $4 AND hour = $2 AND day = $3 \
              GROUP BY ", group!(), ", bucket) AS parts \
        GROUP BY ", group!(), " RETURNING total_calls) \
        SELECT coalesce(sum(total_calls), 0)::bigint FROM made");

    /// Makes the sums of a day from those of its hours and from the tasks that were completed on it. A row that is as it was is not written.
    SUM_DAY(UUID, DATE, TIMESTAMPTZ, TIMESTAMPTZ) = concat!("WITH fresh AS (\
            SELECT provider, agent_id, sum(total_calls)::bigint AS total_calls, sum(successful_calls)::bigint AS successful_calls, \
                sum(unpriced_calls)::bigint AS unpriced_calls, sum(cost_usd) AS cost_usd, sum(tokens_input)::bigint AS tokens_input, \
                sum(tokens_output)::bigint AS tokens_output, sum(latency_ms)::bigint AS latency_ms, ", sum_of_histograms!(), " AS latency_histogram, \
                sum(tasks)::bigint AS tasks \
            FROM (SELECT provider, agent_id, total_calls, successful_calls, unpriced_calls, cost_usd, tokens_input, tokens_output, latency_ms, \
                    latency_histogram, 0 AS tasks FROM analytics.hourly_metrics \
                  WHERE tenant_id = $1 AND day = $2 AND hour >= $3 AND hour < $4 \
                  UNION ALL SELECT coalesce(counted_provider, 'none'), agent_id, 0, 0, 0, 0, 0, 0, 0, '{}', 1 FROM analytics.task_outcomes \
                  WHERE tenant_id = $1 AND counted_day = $2 AND status = 'completed') AS parts \
            GROUP BY provider, agent_id), \
        gone AS (DELETE FROM analytics.daily_metrics AS d WHERE d.tenant_id = $1 AND d.date = $2 \
            AND NOT EXISTS (SELECT FROM fresh WHERE fresh.provider = d.provider AND fresh.agent_id IS NOT DISTINCT FROM d.agent_id)) \
        INSERT INTO analytics.daily_metrics AS d (tenant_id, date, provider, agent_id, total_calls, successful_calls, unpriced_calls, \
            total_cost_usd, total_tokens_input, total_tokens_output, total_latency_ms, latency_histogram, tasks_completed) \
        SELECT $1, $2, provider, agent_id, total_calls, successful_calls, unpriced_calls, cost_usd, tokens_input, tokens_output, latency_ms, \
            latency_histogram, tasks FROM fresh \
        ON CONFLICT (tenant_id, date, provider, agent_id) DO UPDATE SET \
            total_calls = excluded.total_calls, successful_calls = excluded.successful_calls, unpriced_calls = excluded.unpriced_calls, \
            total_cost_usd = excluded.total_cost_usd, total_tokens_input = excluded.total_tokens_input, \
            total_tokens_output = excluded.total_tokens_output, total_latency_ms = excluded.total_latency_ms, \
            latency_histogram = excluded.latency_histogram, tasks_completed = excluded.tasks_completed \
        WHERE (d.total_calls, d.successful_calls, d.unpriced_calls, d.total_cost_usd, d.total_tokens_input, d.total_tokens_output, \
               d.total_latency_ms, d.latency_histogram, d.tasks_completed) \
            IS DISTINCT FROM (excluded.total_calls, excluded.successful_calls, excluded.unpriced_calls, excluded.total_cost_usd, \
               excluded.total_tokens_input, excluded.total_tokens_output, excluded.total_latency_ms, excluded.latency_histogram, \
               excluded.tasks_completed)");
}

/// An hour of a tenant's clock, as it is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour {
    /// Whose.
    pub tenant: TenantId,
    /// The day that it belongs to.
    pub day: NaiveDate,
    /// When it begins.
    pub hour: DateTime<Utc>,
}

/// What an hour's mark was when it was read.
#[derive(Debug, Clone)]
pub struct Mark {
    version: String,
    /// When that was. Calls that a later statement does not see became visible after it.
    pub read_at: DateTime<Utc>,
}

/// How far the sums are behind the calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Hours that are marked.
    pub dirty_hours: i64,
    /// For how long the first of them has been, in seconds; 0 when there is none.
    pub seconds: f64,
}

/// The database's time.
///
/// # Errors
/// [`DbError`].
pub async fn now(tx: &MeterTx) -> Result<DateTime<Utc>, DbError> {
    Ok(tx.query_one(&NOW, &[]).await?.get(0))
}

/// Hours that were marked before a time, of one tenant or of all, the one that waits longest first.
///
/// # Errors
/// [`DbError`].
pub async fn due(
    tx: &MeterTx,
    before: DateTime<Utc>,
    tenant: Option<TenantId>,
    most: i64,
) -> Result<Vec<Hour>, DbError> {
    let tenant = tenant.map(|tenant| *tenant.as_uuid());
    let rows = tx.query(&DUE, &[&before, &tenant, &most]).await?;
    Ok(rows
        .iter()
        .map(|row| Hour { tenant: TenantId::from_uuid(row.get(0)), hour: row.get(1), day: row.get(2) })
        .collect())
}

/// How far the sums are behind the calls, of one tenant or of all.
///
/// # Errors
/// [`DbError`].
pub async fn lag(tx: &MeterTx, tenant: Option<TenantId>) -> Result<Lag, DbError> {
    let row = tx.query_one(&LAG, &[&tenant.map(|tenant| *tenant.as_uuid())]).await?;
    let (first, now): (Option<DateTime<Utc>>, DateTime<Utc>) = (row.get(1), row.get(2));
    let seconds = first.map_or(0.0, |first| (now - first).max(TimeDelta::zero()).as_seconds_f64());
    Ok(Lag { dirty_hours: row.get(0), seconds })
}

/// Has a row for a day; `true` when it had none. In a transaction of its own: others would wait for the end of a longer one.
///
/// # Errors
/// [`DbError`].
pub async fn know_day(tx: &MeterTx, tenant: TenantId, day: NaiveDate) -> Result<bool, DbError> {
    Ok(tx.execute(&KNOW, &[tenant.as_uuid(), &day]).await? > 0)
}

/// Takes the right to make a day's sums, until the transaction ends; `false` when somebody else has it, or the day has no row.
///
/// # Errors
/// [`DbError`].
pub async fn try_hold_day(tx: &MeterTx, tenant: TenantId, day: NaiveDate) -> Result<bool, DbError> {
    Ok(tx.query_opt(&HOLD_FREE, &[tenant.as_uuid(), &day]).await?.is_some())
}

/// Takes the right to make a day's sums, until the transaction ends, when nobody else has it any more. Who takes several takes them by date.
/// The day must have a row.
///
/// # Errors
/// [`DbError`].
pub async fn hold_day(tx: &MeterTx, tenant: TenantId, day: NaiveDate) -> Result<(), DbError> {
    tx.query_one(&HOLD, &[tenant.as_uuid(), &day]).await?;
    Ok(())
}

/// Reads an hour's mark; `None` when it has none.
///
/// # Errors
/// [`DbError`].
pub async fn read_mark(tx: &MeterTx, of: &Hour) -> Result<Option<Mark>, DbError> {
    let row = tx.query_opt(&READ_MARK, &[of.tenant.as_uuid(), &of.hour, &of.day]).await?;
    Ok(row.map(|row| Mark { version: row.get(0), read_at: row.get(1) }))
}

/// Removes a mark as it was read. One that was written since then stays, and `false` is given: there are calls that may not be in the sums.
///
/// # Errors
/// [`DbError`].
pub async fn unmark(tx: &MeterTx, of: &Hour, mark: &Mark) -> Result<bool, DbError> {
    let removed = tx.execute(&UNMARK, &[of.tenant.as_uuid(), &of.hour, &of.day, &mark.version]).await? > 0;
    if !removed {
        tx.execute(&KEEP_MARK, &[of.tenant.as_uuid(), &of.hour, &of.day, &mark.read_at]).await?;
    }
    Ok(removed)
}

/// Removes a mark, whatever calls it is for.
///
/// # Errors
/// [`DbError`].
pub async fn unmark_blindly(tx: &MeterTx, of: &Hour) -> Result<(), DbError> {
    tx.execute(&UNMARK_BLINDLY, &[of.tenant.as_uuid(), &of.hour, &of.day]).await?;
    Ok(())
}

/// Removes the sums of an hour, and gives how many calls they had.
///
/// # Errors
/// [`DbError`].
pub async fn clear_hour(tx: &MeterTx, of: &Hour) -> Result<i64, DbError> {
    Ok(tx.query_one(&CLEAR_HOUR, &[of.tenant.as_uuid(), &of.hour, &of.day]).await?.get(0))
}

/// Makes the sums of an hour, and gives how many calls they have. It must have none.
///
/// # Errors
/// [`DbError`].
pub async fn sum_hour(tx: &MeterTx, of: &Hour) -> Result<i64, DbError> {
    let end = of.hour + TimeDelta::hours(1);
    Ok(tx.query_one(&SUM_HOUR, &[of.tenant.as_uuid(), &of.hour, &of.day, &end]).await?.get(0))
}

/// Makes the sums of a day anew.
///
/// # Errors
/// [`DbError`].
pub async fn sum_day(tx: &MeterTx, tenant: TenantId, day: NaiveDate) -> Result<(), DbError> {
    let (from, to) = around(day, day);
    tx.execute(&SUM_DAY, &[tenant.as_uuid(), &day, &from, &to]).await?;
    let now = now(tx).await?;
    tx.execute(&ROLLED, &[tenant.as_uuid(), &day, &now]).await?;
    Ok(())
}

/// Between which instants the hours of some days lie, in whatever zone: what partitions are chosen by.
#[must_use]
pub fn around(first: NaiveDate, last: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let before = first.checked_sub_days(Days::new(1)).unwrap_or(first);
    let after = last.checked_add_days(Days::new(2)).unwrap_or(last);
    (midnight(before), midnight(after))
}
