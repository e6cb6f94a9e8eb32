use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::{Provisioner, audit, check_limit, check_plan, start_of};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::registry::Actor;

const COLUMNS: &str =
    "tier, requests_per_minute, max_agents, max_concurrent_tasks, max_tasks_per_month, storage_limit_gb, updated_at";

/// A plan and its limits; `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Last changed.
    pub updated_at: DateTime<Utc>,
}

/// A plan to be made; `None` is unlimited.
#[derive(Debug, Clone, Default)]
pub struct NewPlan {
    /// Its name for good: 1 to 20 of a-z, 0-9, `_` and `-`.
    pub tier: String,
    /// Requests a minute.
    pub requests_per_minute: Option<i32>,
    /// Live agents.
    pub max_agents: Option<i32>,
    /// Tasks at work at the same time.
    pub max_concurrent_tasks: Option<i32>,
    /// Tasks created in a month.
    pub max_tasks_per_month: Option<i32>,
    /// Storage in gibibytes.
    pub storage_limit_gb: Option<i32>,
}

/// What to change of a plan: `None` keeps, `Some(None)` is unlimited from then on.
#[derive(Debug, Clone, Default)]
pub struct PlanPatch {
    /// Requests a minute.
    pub requests_per_minute: Option<Option<i32>>,
    /// Live agents.
    pub max_agents: Option<Option<i32>>,
    /// Tasks at work at the same time.
    pub max_concurrent_tasks: Option<Option<i32>>,
    /// Tasks created in a month.
    pub max_tasks_per_month: Option<Option<i32>>,
    /// Storage in gibibytes.
    pub storage_limit_gb: Option<Option<i32>>,
    /// Change only the plan whose `updated_at` this is: what the caller has read.
    pub if_updated_at: Option<DateTime<Utc>>,
}

fn plan(row: &Row) -> Plan {
    Plan {
        tier: row.get("tier"),
        requests_per_minute: row.get("requests_per_minute"),
        max_agents: row.get("max_agents"),
        max_concurrent_tasks: row.get("max_concurrent_tasks"),
        max_tasks_per_month: row.get("max_tasks_per_month"),
        storage_limit_gb: row.get("storage_limit_gb"),
        updated_at: row.get("updated_at"),
    }
}

/// One plan; with `lock`, held until the end of the transaction.
async fn by_tier(client: &Client, tier: &str, lock: bool) -> Result<Plan, ProvisionError> {
    let lock = if lock { " FOR NO KEY UPDATE" } else { "" };
    let sql = format!("SELECT {COLUMNS} FROM public.plans WHERE tier = $1{lock}");
    let rows = client.query_typed(&sql, &[typed(&tier, Type::TEXT)]).await?;
    rows.first().map(plan).ok_or_else(|| ProvisionError::PlanNotFound(start_of(tier)))
}

impl Provisioner {
    /// All plans, the smallest first.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn plans(&self) -> Result<Vec<Plan>, ProvisionError> {
        let client = self.control.get().await?;
        let sql = format!("SELECT {COLUMNS} FROM public.plans ORDER BY requests_per_minute NULLS LAST, tier");
        let rows = client.query_typed(&sql, &[]).await?;
        client.give_back();
        Ok(rows.iter().map(plan).collect())
    }

    /// One plan.
    ///
    /// # Errors
    /// [`ProvisionError::PlanNotFound`], [`ProvisionError::Database`].
    pub async fn plan(&self, tier: &str) -> Result<Plan, ProvisionError> {
        known(tier)?;
        let client = self.control.get().await?;
        let found = by_tier(&client, tier, false).await;
        if !matches!(found, Err(ProvisionError::Database(_))) {
            client.give_back();
        }
        found
    }

    /// Makes a plan.
    ///
    /// # Errors
    /// [`ProvisionError::PlanExists`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn create_plan(&self, new: &NewPlan, actor: &Actor) -> Result<Plan, ProvisionError> {
        check_tier(&new.tier)?;
        check_limits(&[
            ("requests_per_minute", new.requests_per_minute),
            ("max_agents", new.max_agents),
            ("max_concurrent_tasks", new.max_concurrent_tasks),
            ("max_tasks_per_month", new.max_tasks_per_month),
            ("storage_limit_gb", new.storage_limit_gb),
        ])?;
        let client = self.control.get().await?;
        if let Some(done) = self.start(&client).await? {
            client.give_back();
            return Ok(done);
        }
        let sql = format!(
            "INSERT INTO public.plans (tier, requests_per_minute, max_agents, max_concurrent_tasks, max_tasks_per_month, storage_limit_gb) \
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING {COLUMNS}"
        );
        let params = [
            typed(&new.tier, Type::TEXT),
            typed(&new.requests_per_minute, Type::INT4),
            typed(&new.max_agents, Type::INT4),
            typed(&new.max_concurrent_tasks, Type::INT4),
            typed(&new.max_tasks_per_month, Type::INT4),
            typed(&new.storage_limit_gb, Type::INT4),
        ];
        let rows = match client.query_typed(&sql, &params).await.map_err(DbError::from) {
            Err(error) if error.is_unique_violation() || error.waited_for("plans_pkey") => {
                return Err(ProvisionError::PlanExists(new.tier.clone()));
            }
            other => other?,
        };
        let made = rows.first().map(plan).ok_or(DbError::Misuse("a plan was not stored"))?;
        audit(&client, None, actor, "plan.create", &format!("plan/{}", made.tier), json!({ "after": made })).await?;
        self.finish(client, &made).await?;
        Ok(made)
    }

    /// Changes the limits of a plan, and so of every tenant on it that has no own. A patch that names nothing changes nothing.
    ///
    /// # Errors
    /// [`ProvisionError::PlanNotFound`], [`ProvisionError::PlanChanged`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn update_plan(&self, tier: &str, patch: &PlanPatch, actor: &Actor) -> Result<Plan, ProvisionError> {
        known(tier)?;
        let limits = [
            ("requests_per_minute", patch.requests_per_minute),
            ("max_agents", patch.max_agents),
            ("max_concurrent_tasks", patch.max_concurrent_tasks),
            ("max_tasks_per_month", patch.max_tasks_per_month),
            ("storage_limit_gb", patch.storage_limit_gb),
        ];
        check_limits(&limits.map(|(member, limit)| (member, limit.flatten())))?;
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        let before = by_tier(&client, tier, true).await?;
        if patch.if_updated_at.is_some_and(|at| at != before.updated_at) {
            return Err(ProvisionError::PlanChanged(Box::new(before)));
        }
        let named: Vec<(&str, Option<i32>)> =
            limits.iter().filter_map(|(member, limit)| limit.map(|limit| (*member, limit))).collect();
        if named.is_empty() {
            client.batch_execute("ROLLBACK").await?;
            client.give_back();
            return Ok(before);
        }
        // The members' names are the columns', from the list above.
        let sets: Vec<String> = named.iter().zip(2..).map(|((member, _), at)| format!("{member} = ${at}")).collect();
        let sql = format!("UPDATE public.plans SET {} WHERE tier = $1 RETURNING {COLUMNS}", sets.join(", "));
        let mut params = vec![typed(&tier, Type::TEXT)];
        params.extend(named.iter().map(|(_, limit)| typed(limit, Type::INT4)));
        let rows = client.query_typed(&sql, &params).await?;
        let after = rows.first().map(plan).ok_or(DbError::Misuse("a locked plan was not found"))?;
        let details = json!({ "before": before, "after": after });
        audit(&client, None, actor, "plan.update", &format!("plan/{tier}"), details).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(after)
    }

    /// Removes a plan that no tenant is on, deleted tenants included.
    ///
    /// # Errors
    /// [`ProvisionError::PlanNotFound`], [`ProvisionError::PlanInUse`], [`ProvisionError::Database`].
    pub async fn delete_plan(&self, tier: &str, actor: &Actor) -> Result<Plan, ProvisionError> {
        known(tier)?;
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        let before = by_tier(&client, tier, false).await?;
        let sql = "DELETE FROM public.plans WHERE tier = $1";
        match client.execute_typed(sql, &[typed(&tier, Type::TEXT)]).await.map_err(DbError::from) {
            Err(error) if error.is_foreign_key_violation() => return Err(ProvisionError::PlanInUse(tier.to_owned())),
            Ok(0) => return Err(ProvisionError::PlanNotFound(tier.to_owned())),
            other => drop(other?),
        }
        audit(&client, None, actor, "plan.delete", &format!("plan/{tier}"), json!({ "before": before })).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(before)
    }
}

/// What cannot be a plan's name is no plan.
fn known(tier: &str) -> Result<(), ProvisionError> {
    check_plan(tier).map_err(|_| ProvisionError::PlanNotFound(start_of(tier)))
}

/// Requests a minute are at least one: none at all is a suspension.
fn check_limits(limits: &[(&'static str, Option<i32>)]) -> Result<(), ProvisionError> {
    for (member, limit) in limits {
        check_limit(member, *limit, i32::from(*member == "requests_per_minute"))?;
    }
    Ok(())
}

fn check_tier(tier: &str) -> Result<(), ProvisionError> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    if (1..=20).contains(&tier.len()) && tier.bytes().all(word) {
        return Ok(());
    }
    let detail = "a plan's name has 1 to 20 of a-z, 0-9, `_` and `-`".to_owned();
    Err(ProvisionError::Invalid { member: "tier", detail })
}
