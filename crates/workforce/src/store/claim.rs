//! Who does what next: tasks that are handed out.

use tenantry_postgres::{TenantTx, statements};
use uuid::Uuid;

use super::tasks::{Locked, columns, nothing_open, rank, save};
use super::{agents, dependencies, quotas};
use crate::quota::Quota;
use crate::task::{ClaimTasks, Task};
use crate::{Error, Valid};

statements! {
    /// What an agent should do next, most urgent first, then what is due first, then the oldest. Tasks that somebody else is
    /// changing at this moment are passed by.
    NEXT_TASKS(UUID, INT8) = concat!(
        "SELECT ", columns!(), ", now() AS clock FROM tenant.tasks t \
         WHERE agent_id = $1 AND status = 'pending' AND deleted_at IS NULL AND ", nothing_open!(),
        " ORDER BY ", rank!(), " DESC, deadline, created_at, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
    );
}

/// Hands an agent its next tasks and starts them, each task once, whoever asks at the same time. Where the plan has places for some
/// of them only, those are handed out.
///
/// # Errors
/// [`Error::UnknownAgent`], [`Error::AgentOffline`], [`Error::QuotaExceeded`] where there is work but no place.
pub async fn claim(tx: &mut TenantTx, ask: &Valid<ClaimTasks>) -> Result<Vec<Task>, Error> {
    agents::hold_worker(tx, ask.agent_id).await?;
    let places = quotas::places(tx).await?;
    if places == Some(0) {
        let work = tx.query_opt(&NEXT_TASKS, &[ask.agent_id.as_uuid(), &1_i64]).await?;
        return if work.is_none() { Ok(Vec::new()) } else { Err(quotas::exceeded(tx, Quota::ConcurrentTasks).await) };
    }
    let asked = usize::from(ask.limit.unwrap_or(1));
    let limit = places.map_or(asked, |places| asked.min(usize::try_from(places).unwrap_or(asked)));
    let mut claimed = Vec::with_capacity(limit);
    while claimed.len() < limit {
        let wanted = i64::try_from(limit - claimed.len()).unwrap_or(1);
        let rows = tx.query(&NEXT_TASKS, &[ask.agent_id.as_uuid(), &wanted]).await?;
        if rows.is_empty() {
            break;
        }
        let next = rows.iter().map(Locked::read).collect::<Result<Vec<_>, _>>()?;
        // The statement above saw the dependencies before it had the tasks' locks. One that was added in between shows now.
        let ids: Vec<Uuid> = next.iter().map(|locked| *locked.task.id.as_uuid()).collect();
        let held = dependencies::held_up(tx, &ids).await?;
        for Locked { task: before, now } in next {
            if !held.contains(before.id.as_uuid()) {
                let mut task = before.clone();
                task.start(now)?;
                claimed.push(save(tx, &before, &task, &["status"]).await?);
            }
        }
    }
    Ok(claimed)
}
