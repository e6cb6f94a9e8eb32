//! What a company may use, and how much of it is used, as tables.

use workforce::{PlanInForce, UsageOfPlan};

use super::output::{self, optional, time};
use super::{CliError, Output};

const UNLIMITED: &str = "unlimited";

pub(super) fn plan(plan: &PlanInForce, format: Output) -> Result<(), CliError> {
    let limits = &plan.limits;
    let shown = |limit: Option<i32>| limit.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string());
    output::record(
        format,
        plan,
        &[
            ("plan", plan.tier.clone()),
            ("requests a minute", shown(limits.requests_per_minute.value)),
            ("agents", shown(limits.max_agents.value)),
            ("tasks in progress", shown(limits.max_concurrent_tasks.value)),
            ("tasks a month", shown(limits.max_tasks_per_month.value)),
            ("storage in GiB", shown(limits.storage_limit_gb.value)),
        ],
    )
}

pub(super) fn usage(usage: &UsageOfPlan, format: Output) -> Result<(), CliError> {
    if format == Output::Json {
        return output::json(usage);
    }
    let row = |name: &str, used: Option<i64>, limit: Option<i64>, percent: Option<f64>, resets_at: Option<_>| {
        let limit = limit.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string());
        vec![name.to_owned(), optional(used), limit, optional(percent), optional(resets_at.map(time))]
    };
    let (agents, tasks, running) = (&usage.agents, &usage.tasks, &usage.concurrent_tasks);
    let (storage, requests) = (&usage.storage, &usage.requests);
    let rows = [
        row("agents", Some(agents.used), agents.limit, agents.percent, agents.resets_at),
        row("tasks this month", Some(tasks.used), tasks.limit, tasks.percent, tasks.resets_at),
        row("tasks in progress", Some(running.used), running.limit, running.percent, running.resets_at),
        row("bytes of storage", storage.used_bytes, storage.limit_bytes, storage.percent, None),
        row("requests a minute", requests.used, requests.limit, requests.percent, requests.resets_at),
    ];
    output::list(format, &rows, &["what", "used", "limit", "percent", "resets at"], Clone::clone)
}
