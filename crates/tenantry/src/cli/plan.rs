//! `tenantry plan …`.

use clap::{Args, Subcommand};
use tenantry::Settings;
use tenantry_postgres::{Actor, NewPlan, Plan, PlanPatch};

use super::confirm::Confirm;
use super::output;
use super::{CliError, Global};

/// What to do with plans.
#[derive(Debug, Subcommand)]
pub(super) enum PlanCommand {
    /// Show all plans, the smallest first
    List,
    /// Make a plan; limits that are not given are unlimited
    Create {
        /// Its name for good: 1 to 20 of a-z, 0-9, `_` and `-`
        tier: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change limits of a plan, and so of the tenants on it that have no own; servers know within a second
    Update {
        /// Its name
        tier: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Remove a plan that no tenant is on
    Delete {
        /// Its name
        tier: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Requests a minute, or `unlimited`
    #[arg(long, value_name = "NUMBER|unlimited", value_parser = limit)]
    requests_per_minute: Option<Limit>,
    /// Agents, or `unlimited`
    #[arg(long, value_name = "NUMBER|unlimited", value_parser = limit)]
    max_agents: Option<Limit>,
    /// Tasks at work at the same time, or `unlimited`
    #[arg(long, value_name = "NUMBER|unlimited", value_parser = limit)]
    max_concurrent_tasks: Option<Limit>,
    /// Tasks created in a month, or `unlimited`
    #[arg(long, value_name = "NUMBER|unlimited", value_parser = limit)]
    max_tasks_per_month: Option<Limit>,
    /// Storage in GiB, or `unlimited`
    #[arg(long, value_name = "NUMBER|unlimited", value_parser = limit)]
    storage_limit_gb: Option<Limit>,
}

/// A number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<i32>);

fn limit(text: &str) -> Result<Limit, String> {
    if text == "unlimited" {
        return Ok(Limit(None));
    }
    match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(Limit(Some(number))),
        _ => Err("expected a number or `unlimited`".to_owned()),
    }
}

impl Limits {
    fn patch(&self) -> PlanPatch {
        PlanPatch {
            requests_per_minute: self.requests_per_minute.map(|l| l.0),
            max_agents: self.max_agents.map(|l| l.0),
            max_concurrent_tasks: self.max_concurrent_tasks.map(|l| l.0),
            max_tasks_per_month: self.max_tasks_per_month.map(|l| l.0),
            storage_limit_gb: self.storage_limit_gb.map(|l| l.0),
            if_updated_at: None,
        }
    }

    fn are_named(&self) -> bool {
        [
            self.requests_per_minute,
            self.max_agents,
            self.max_concurrent_tasks,
            self.max_tasks_per_month,
            self.storage_limit_gb,
        ]
        .iter()
        .any(Option::is_some)
    }
}

pub(super) async fn run(command: PlanCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let provisioner = global.provisioner(settings)?;
    let actor = Actor::cli();
    let plan = match command {
        PlanCommand::List => {
            let columns = ["plan", "requests/min", "agents", "concurrent tasks", "tasks/month", "storage GiB"];
            return output::list(global.output, &provisioner.plans().await?, &columns, |plan| {
                lines(plan).into_iter().map(|(_, value)| value).collect()
            });
        }
        PlanCommand::Create { tier, limits } => {
            let limits = limits.patch();
            let new = NewPlan {
                tier,
                requests_per_minute: limits.requests_per_minute.flatten(),
                max_agents: limits.max_agents.flatten(),
                max_concurrent_tasks: limits.max_concurrent_tasks.flatten(),
                max_tasks_per_month: limits.max_tasks_per_month.flatten(),
                storage_limit_gb: limits.storage_limit_gb.flatten(),
            };
            provisioner.create_plan(&new, &actor).await?
        }
        PlanCommand::Update { tier, limits } => {
            if !limits.are_named() {
                return Err(CliError::usage("nothing to change")
                    .hint("`tenantry plan update --help` lists what can be changed"));
            }
            provisioner.update_plan(&tier, &limits.patch(), &actor).await?
        }
        PlanCommand::Delete { tier, confirm } => {
            provisioner.plan(&tier).await?;
            confirm.word(&format!("the plan `{tier}` will be removed"), &tier)?;
            provisioner.delete_plan(&tier, &actor).await?
        }
    };
    output::record(global.output, &plan, &lines(&plan))
}

fn lines(plan: &Plan) -> Vec<(&'static str, String)> {
    let limit = |limit: Option<i32>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    vec![
        ("plan", plan.tier.clone()),
        ("requests/min", limit(plan.requests_per_minute)),
        ("agents", limit(plan.max_agents)),
        ("concurrent tasks", limit(plan.max_concurrent_tasks)),
        ("tasks/month", limit(plan.max_tasks_per_month)),
        ("storage GiB", limit(plan.storage_limit_gb)),
    ]
}
