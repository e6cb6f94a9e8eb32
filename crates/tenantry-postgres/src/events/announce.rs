use std::time::Duration;

use tenantry_core::TenantId;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::EventHub;
use crate::clients::Clients;
use crate::error::DbError;

/// The channel on which servers tell each other which tenants have news.
pub(crate) const CHANNEL: &str = "tenantry_events";
/// The pause after each notification: at most 20 a second, however many events there are.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause after one that could not be sent.
const RETRY: Duration = Duration::from_secs(1);
/// Tenants in one notification, whose text may have 8,000 bytes.
const TENANTS: usize = 200;

/// The task that tells other servers of news.
pub(crate) struct Announcer {
    task: AbortHandle,
}

impl Announcer {
    pub(crate) fn spawn(hub: EventHub, clients: Clients) -> Self {
        let task = tokio::spawn(async move {
            loop {
                hub.has_pending().await;
                while let Some(pause) = announce(&hub, &clients).await {
                    tokio::time::sleep(pause).await;
                }
            }
        });
        Self { task: task.abort_handle() }
    }

    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends one notification; `None` when there was nothing to say.
async fn announce(hub: &EventHub, clients: &Clients) -> Option<Duration> {
    let tenants = hub.take_pending(TENANTS);
    if tenants.is_empty() {
        return None;
    }
    match send(hub.server(), &tenants, clients).await {
        Ok(()) => Some(PAUSE),
        Err(error) => {
            tracing::warn!(%error, "other servers could not be told of new events yet");
            hub.put_back(tenants);
            Some(RETRY)
        }
    }
}

async fn send(server: Uuid, tenants: &[TenantId], clients: &Clients) -> Result<(), DbError> {
    let client = clients.get().await?;
    // hexadecimal digits and commas need no quoting
    client.batch_execute(&format!("NOTIFY {CHANNEL}, '{}'", payload(server, tenants))).await?;
    client.give_back();
    Ok(())
}

fn payload(server: Uuid, tenants: &[TenantId]) -> String {
    let tenants: Vec<String> = tenants.iter().map(|tenant| tenant.as_uuid().simple().to_string()).collect();
    format!("{}:{}", server.simple(), tenants.join(","))
}

impl EventHub {
    /// Takes what came on the channel. Anybody who can connect may send there; what is no announcement is passed over, and a
    /// false one makes streams look for events in vain.
    pub(crate) fn heard(&self, note: &str) {
        let Some((server, tenants)) = note.split_once(':') else { return };
        if Uuid::try_parse(server).is_ok_and(|server| server == self.server()) {
            return;
        }
        for tenant in tenants.split(',').filter_map(|id| Uuid::try_parse(id).ok()) {
            self.wake(TenantId::from_uuid(tenant));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_notification_is_not_too_long() {
        let tenants = vec![TenantId::from_uuid(Uuid::max()); TENANTS];
        assert!(payload(Uuid::max(), &tenants).len() < 8000);
    }
}
