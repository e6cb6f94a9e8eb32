use serde::Serialize;

use super::Provisioner;
use crate::error::ProvisionError;

/// A plan and its limits; `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The plan's name.
    pub tier: String,
    /// Requests a minute.
    pub requests_per_minute: Option<i32>,
    /// Live agents (or whatever the domain counts as its main thing).
    pub max_agents: Option<i32>,
    /// Tasks at work at the same time.
    pub max_concurrent_tasks: Option<i32>,
    /// Tasks created in a month.
    pub max_tasks_per_month: Option<i32>,
    /// Storage in gibibytes.
    pub storage_limit_gb: Option<i32>,
}

impl Provisioner {
    /// All plans, the smallest first.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn plans(&self) -> Result<Vec<Plan>, ProvisionError> {
        let client = self.control.get().await?;
        let rows = client
            .query_typed(
                "SELECT tier, requests_per_minute, max_agents, max_concurrent_tasks, max_tasks_per_month, storage_limit_gb \
                 FROM public.plans ORDER BY requests_per_minute NULLS LAST, tier",
                &[],
            )
            .await?;
        client.give_back();
        let plan = |row: &tokio_postgres::Row| Plan {
            tier: row.get(0),
            requests_per_minute: row.get(1),
            max_agents: row.get(2),
            max_concurrent_tasks: row.get(3),
            max_tasks_per_month: row.get(4),
            storage_limit_gb: row.get(5),
        };
        Ok(rows.iter().map(plan).collect())
    }
}
