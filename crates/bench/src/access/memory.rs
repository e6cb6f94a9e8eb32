//! How large the pool's backends have grown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use tenantry_postgres::statements;

use crate::ground::{Ground, Server};
use crate::report::{Report, Row};

use super::CLIENTS;
use super::fleet::Fleet;

statements! {
    /// Opens every table of a tenant, each with its indexes.
    OPEN_ALL() = "SELECT (SELECT count(*) FROM tenant.activity_logs) + (SELECT count(*) FROM tenant.agent_sessions) \
        + (SELECT count(*) FROM tenant.agents) + (SELECT count(*) FROM tenant.credential_proxies) \
        + (SELECT count(*) FROM tenant.messages) + (SELECT count(*) FROM tenant.oauth_transactions) \
        + (SELECT count(*) FROM tenant.provider_accounts) + (SELECT count(*) FROM tenant.schedules) \
        + (SELECT count(*) FROM tenant.task_dependencies) + (SELECT count(*) FROM tenant.tasks)";
}

pub(super) async fn measure(
    ground: &Ground,
    server: &Server,
    fleet: &Arc<Fleet>,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("bench: opening every table of every tenant");
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (db, fleet, next) = (server.db.clone(), Arc::clone(fleet), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some(member) = fleet.members.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut tx = db.single(&member.context).await?;
                    tx.query_one(&OPEN_ALL, &[]).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let backends = ground
        .admin()
        .await?
        .query("SELECT pid FROM pg_stat_activity WHERE usename LIKE 'tenantry_cell_%'", &[])
        .await?;
    let sizes: Vec<f64> = backends.iter().map(|row| anonymous(row.get(0))).collect::<anyhow::Result<_>>()?;
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    report.push(Row::lower("backend_memory", largest, "MB").goal(120.0));
    report.push(Row::lower("backend_memory_all", sizes.iter().sum(), "MB"));
    report.fact("backends", format!("{} at the end", sizes.len()));
    Ok(())
}

/// What belongs to a process alone, in MB.
fn anonymous(pid: i32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).context("no line `Anonymous`")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1000.0)
}
