//! What tasks cost and how they ended.

use chrono::{DateTime, Utc};
use tenantry_postgres::{DbError, TenantTx, statements};
use uuid::Uuid;

use super::{Scope, all_sums, column, measures, raw, scoped};
use crate::Usd;
use crate::insight::Measures;

statements! {
    /// Tasks that ended between two instants, by provider and how.
    OUTCOMES(TIMESTAMPTZ, TIMESTAMPTZ, UUID) =
        "SELECT provider, count(*) FILTER (WHERE status = 'completed') AS completed, count(*) FILTER (WHERE status = 'failed') AS failed, \
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled \
         FROM analytics.task_outcomes WHERE finished_at >= $1 AND finished_at < $2 AND ($3::uuid IS NULL OR agent_id = $3) GROUP BY provider";
    /// Kinds of work, with the tasks that they were and how those ended. A task with calls of two kinds is in both.
    TASK_TYPES(DATE, DATE, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TEXT, UUID, UUID, TEXT, TEXT, INT8) = concat!(
        "WITH tasks AS MATERIALIZED (SELECT task_type, task_id, ", all_sums!(), " FROM ", raw!(), " GROUP BY 1, 2) \
         SELECT t.task_type, ", all_sums!(), ", count(t.task_id) AS tasks, \
           count(*) FILTER (WHERE o.status = 'completed') AS completed, count(*) FILTER (WHERE o.status = 'failed') AS failed, \
           count(*) FILTER (WHERE o.status = 'cancelled') AS cancelled, \
           coalesce(sum(t.cost_usd) FILTER (WHERE o.status = 'completed'), 0) AS completed_usd, \
           coalesce(sum(t.cost_usd) FILTER (WHERE o.status = 'failed'), 0) AS failed_usd, \
           coalesce(sum(t.cost_usd) FILTER (WHERE o.status = 'cancelled'), 0) AS cancelled_usd, \
           coalesce(sum(t.failed_cost_usd) FILTER (WHERE o.status IS NULL OR o.status = 'completed'), 0) AS other_failed_usd \
         FROM tasks t LEFT JOIN analytics.task_outcomes o ON o.task_id = t.task_id \
         GROUP BY 1 ORDER BY sum(t.cost_usd) DESC, 1 LIMIT $11"
    );
}

/// How tasks ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Whom the tasks were for; `None` for those that named no provider.
    pub provider: Option<String>,
    /// Done.
    pub completed: i64,
    /// Given up.
    pub failed: i64,
    /// Called off.
    pub cancelled: i64,
}

/// How the tasks ended that ended between two instants.
///
/// # Errors
/// Only the database's.
pub async fn outcomes(
    tx: &mut TenantTx,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    agent: Option<Uuid>,
) -> Result<Vec<Outcomes>, DbError> {
    let rows = tx.query(&OUTCOMES, &[&from, &until, &agent]).await?;
    rows.iter()
        .map(|row| {
            Ok(Outcomes {
                provider: column!(row, "provider"),
                completed: column!(row, "completed"),
                failed: column!(row, "failed"),
                cancelled: column!(row, "cancelled"),
            })
        })
        .collect()
}

/// A kind of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTypeSums {
    /// In the tenant's words; `None` for calls that said nothing.
    pub task_type: Option<String>,
    /// Its sums.
    pub measures: Measures,
    /// The tasks that had calls.
    pub tasks: i64,
    /// Of these, done by now.
    pub completed: i64,
    /// Given up.
    pub failed: i64,
    /// Called off.
    pub cancelled: i64,
    /// What the calls of done tasks cost.
    pub completed_usd: Usd,
    /// Of those given up.
    pub failed_usd: Usd,
    /// Of those called off.
    pub cancelled_usd: Usd,
    /// What failed calls cost that belong to no task given up or called off.
    pub other_failed_usd: Usd,
}

/// Kinds of work, the dearest first.
///
/// # Errors
/// Only the database's.
pub async fn task_types(tx: &mut TenantTx, scope: &Scope, limit: i64) -> Result<Vec<TaskTypeSums>, DbError> {
    let rows = scoped!(tx, query, &TASK_TYPES, scope, &limit)?;
    rows.iter()
        .map(|row| {
            Ok(TaskTypeSums {
                task_type: column!(row, "task_type"),
                measures: measures(row)?,
                tasks: column!(row, "tasks"),
                completed: column!(row, "completed"),
                failed: column!(row, "failed"),
                cancelled: column!(row, "cancelled"),
                completed_usd: Usd(column!(row, "completed_usd")),
                failed_usd: Usd(column!(row, "failed_usd")),
                cancelled_usd: Usd(column!(row, "cancelled_usd")),
                other_failed_usd: Usd(column!(row, "other_failed_usd")),
            })
        })
        .collect()
}
