use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tenantry_http::respond::Common;
use tenantry_http::{ApiQuery, Problem, TenantScope};
use tenantry_postgres::TenantDb;
use utoipa::ToSchema;

use super::frame::{Frame, frame};
use super::query::{bounded, question};
use crate::Metering;
use crate::Usd;
use crate::insight::Measures;
use crate::money::percent;
use crate::store::analytics::sums;
use crate::store::analytics::tasks::{self, TaskTypeSums};

question! {
    /// Which calls.
    TaskTypesQuery {
        /// How many kinds, the dearest first, 1 to 200; 50 unless given.
        #[param(minimum = 1, maximum = 200)]
        limit: Option<i64>,
    }
}

/// Kinds of work, what they cost and what came of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskTypes {
    /// What the answer is about, and how far it can be trusted.
    #[serde(flatten)]
    pub frame: Frame,
    /// All calls together, those of no kind and no task included.
    pub total: Measures,
    /// The kinds, the dearest first.
    pub data: Vec<TaskType>,
}

/// A kind of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskType {
    /// In the tenant's words; null for calls that said nothing.
    #[schema(required)]
    pub task_type: Option<String>,
    /// Its sums.
    #[serde(flatten)]
    pub measures: Measures,
    /// The tasks that had calls in the period.
    pub tasks: i64,
    /// Of these, completed by now.
    pub tasks_completed: i64,
    /// Of these, failed by now.
    pub tasks_failed: i64,
    /// Of these, cancelled by now.
    pub tasks_cancelled: i64,
    /// What the calls of completed tasks cost in the period, divided by these tasks; null without any.
    #[schema(required)]
    pub cost_per_completed_task_usd: Option<Usd>,
    /// What the calls of failed tasks cost.
    pub failed_tasks_usd: Usd,
    /// What the calls of cancelled tasks cost.
    pub cancelled_tasks_usd: Usd,
    /// What came to nothing: the calls of failed and cancelled tasks, and all other calls that failed.
    pub waste_usd: Usd,
    /// Of the cost, in percent; null when nothing was spent.
    #[schema(required)]
    pub waste_percent: Option<f64>,
}

/// Tells what kinds of work cost, what became of the tasks, and what was spent for nothing. Read from the calls themselves.
#[utoipa::path(
    get,
    path = "/v1/analytics/task-types",
    operation_id = "get_task_types",
    tag = "analytics",
    params(TaskTypesQuery),
    responses(Common, (status = 200, description = "kinds of work and their cost", body = TaskTypes)),
)]
pub(super) async fn get_task_types(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    ApiQuery(query): ApiQuery<TaskTypesQuery>,
) -> Result<Json<TaskTypes>, Problem> {
    let (scope, _) = query.scope(&context, &metering)?;
    let limit = bounded("limit", query.limit, (1, 50, 200))?;
    let mut tx = db.snapshot(&context).await?;
    let rows = tasks::task_types(&mut tx, &scope, limit).await?;
    let total = if rows.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        rows.iter().map(|row| row.measures).sum()
    } else {
        sums::total_of_calls(&mut tx, &scope).await?
    };
    let frame = frame(&mut tx, &scope, &total).await?;
    tx.commit().await?;
    Ok(Json(TaskTypes { frame, total, data: rows.into_iter().map(TaskType::from).collect() }))
}

impl From<TaskTypeSums> for TaskType {
    fn from(row: TaskTypeSums) -> Self {
        let waste = row.failed_usd + row.cancelled_usd + row.other_failed_usd;
        Self {
            task_type: row.task_type,
            tasks: row.tasks,
            tasks_completed: row.completed,
            tasks_failed: row.failed,
            tasks_cancelled: row.cancelled,
            cost_per_completed_task_usd: row.completed_usd.each(row.completed),
            failed_tasks_usd: row.failed_usd,
            cancelled_tasks_usd: row.cancelled_usd,
            waste_usd: waste,
            waste_percent: percent(waste.0, row.measures.cost_usd.0),
            measures: row.measures,
        }
    }
}
