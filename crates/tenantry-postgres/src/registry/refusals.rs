use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tenantry_core::TenantId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};

use super::Refusal;
use crate::clients::{Clients, typed};
use crate::error::DbError;

const QUEUE: usize = 256;
const MAX_TEXT: usize = 256;

/// Writes refused attempts to the audit table in the background. The queue is bounded, so that a flood of
/// refused requests costs the database little; what does not fit is counted and written as one row.
pub(super) struct Recorder {
    running: Mutex<Option<Running>>,
    surplus: Arc<AtomicU64>,
}

/// What is written: a refusal, or an entry.
pub(super) struct Note {
    pub(super) tenant: Option<TenantId>,
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) action: &'static str,
    pub(super) presented: String,
    pub(super) client_ip: Option<String>,
    pub(super) request_id: String,
    pub(super) details: Option<Value>,
}

impl From<Refusal> for Note {
    fn from(refusal: Refusal) -> Self {
        let Refusal { tenant, kind, subject, action, presented, client_ip, request_id } = refusal;
        let client_ip = client_ip.map(|ip| ip.to_string());
        Self { tenant, kind, subject, action, presented, client_ip, request_id, details: None }
    }
}

struct Running {
    queue: mpsc::Sender<Note>,
    writer: JoinHandle<()>,
}

impl Recorder {
    pub(super) fn spawn(clients: Clients) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Note>(QUEUE);
        let surplus = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&surplus);
        let writer = tokio::spawn(async move {
            while let Some(refusal) = waiting.recv().await {
                store(&clients, &refusal, &counted).await;
            }
            // Nobody comes after these whose row could tell of them.
            if counted.load(Ordering::Relaxed) > 0 {
                store(&clients, &not_recorded(), &counted).await;
            }
        });
        Self { running: Mutex::new(Some(Running { queue, writer })), surplus }
    }

    pub(super) fn record(&self, refusal: Refusal) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_none_or(|running| running.queue.try_send(refusal.into()).is_err()) {
            self.surplus.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// False when there is no room: an entry can wait, and takes no more than half of what is there for refusals.
    pub(super) fn record_entry(&self, entry: Note) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().is_some_and(|r| r.queue.capacity() > QUEUE / 2 && r.queue.try_send(entry).is_ok())
    }

    /// Takes nothing more and waits until everything is written.
    pub(super) async fn drain(&self, limit: Duration) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { queue, mut writer }) = running else { return true };
        drop(queue);
        if tokio::time::timeout(limit, &mut writer).await.is_ok() {
            return true;
        }
        writer.abort();
        tracing::error!("refused attempts are not in the audit table: the database did not take them in time");
        false
    }
}

/// Writes a row, and with it how many were missed before. A database that is away is waited for.
async fn store(clients: &Clients, refusal: &Note, counted: &AtomicU64) {
    let missed = counted.swap(0, Ordering::Relaxed);
    while let Err(error) = write(clients, refusal, missed).await {
        // One that the database will never take must not keep the others out.
        if !matches!(error, DbError::Unavailable(_) | DbError::Login(_) | DbError::Exhausted { .. }) {
            tracing::error!(%error, action = refusal.action, "a refused attempt cannot be audited");
            counted.fetch_add(missed + 1, Ordering::Relaxed);
            return;
        }
        tracing::warn!(%error, "a refused attempt is not in the audit table yet");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The row that tells of the surplus when no refusal follows that could.
fn not_recorded() -> Note {
    Note {
        tenant: None,
        kind: "system",
        subject: "shutdown".to_owned(),
        action: "access.not_recorded",
        presented: String::new(),
        client_ip: None,
        request_id: String::new(),
        details: None,
    }
}

/// What a stranger sent is cut, and loses the one character that PostgreSQL cannot store.
fn storable(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_TEXT).collect()
}

async fn write(clients: &Clients, refusal: &Note, missed: u64) -> Result<(), DbError> {
    let client = clients.get().await?;
    let tenant = refusal.tenant.map(|t| *t.as_uuid());
    let ip = &refusal.client_ip;
    let details = match &refusal.details {
        Some(Value::Object(details)) => {
            let mut details = details.clone();
            if missed > 0 {
                details.insert("not_recorded_before".to_owned(), missed.into());
            }
            Value::Object(details)
        }
        _ => json!({ "not_recorded_before": missed }),
    };
    let (subject, presented) = (storable(&refusal.subject), storable(&refusal.presented));
    let params: [(&(dyn ToSql + Sync), Type); 8] = [
        typed(&tenant, Type::UUID),
        typed(&refusal.kind, Type::TEXT),
        typed(&subject, Type::TEXT),
        typed(&refusal.action, Type::TEXT),
        typed(&presented, Type::TEXT),
        typed(&refusal.request_id, Type::TEXT),
        typed(ip, Type::TEXT),
        typed(&details, Type::JSONB),
    ];
    let sql = "INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target, request_id, client_ip, details) \
               VALUES ($1, $2, $3, $4, $5, nullif($6, ''), $7, $8)";
    client.execute_typed(sql, &params).await?;
    client.give_back();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_sent_can_be_stored() {
        assert_eq!(storable("a\0b"), "ab");
        assert_eq!(storable(&"ä".repeat(300)).chars().count(), MAX_TEXT);
    }
}
