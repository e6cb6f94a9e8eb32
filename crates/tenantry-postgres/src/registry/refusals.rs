use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_postgres::types::{ToSql, Type};

use super::Refusal;
use crate::clients::{Clients, typed};
use crate::error::DbError;

const QUEUE: usize = 256;
const MAX_PRESENTED: usize = 256;

/// Writes refused attempts to the audit table in the background. The queue is bounded, so that a flood of
/// refused requests costs the database little; what does not fit is counted and written as one row.
pub(super) struct Recorder {
    queue: mpsc::Sender<Refusal>,
    surplus: Arc<AtomicU64>,
}

impl Recorder {
    pub(super) fn spawn(clients: Clients) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Refusal>(QUEUE);
        let surplus = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&surplus);
        tokio::spawn(async move {
            while let Some(refusal) = waiting.recv().await {
                let missed = counted.swap(0, Ordering::Relaxed);
                while let Err(error) = write(&clients, &refusal, missed).await {
                    // One that the database will never take must not keep the others out.
                    if !matches!(error, DbError::Unavailable(_) | DbError::Exhausted { .. }) {
                        tracing::error!(%error, action = refusal.action, "a refused attempt cannot be audited");
                        counted.fetch_add(missed + 1, Ordering::Relaxed);
                        break;
                    }
                    tracing::warn!(%error, "a refused attempt is not in the audit table yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
        Self { queue, surplus }
    }

    pub(super) fn record(&self, refusal: Refusal) {
        if self.queue.try_send(refusal).is_err() {
            self.surplus.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write(clients: &Clients, refusal: &Refusal, missed: u64) -> Result<(), DbError> {
    let client = clients.get().await?;
    let tenant = refusal.tenant.map(|t| *t.as_uuid());
    let ip = refusal.client_ip.map(|ip| ip.to_string());
    let details = json!({ "not_recorded_before": missed });
    // What a stranger sent is cut, and loses the one character that PostgreSQL cannot store.
    let presented: String = refusal.presented.chars().filter(|c| *c != '\0').take(MAX_PRESENTED).collect();
    let params: [(&(dyn ToSql + Sync), Type); 6] = [
        typed(&tenant, Type::UUID),
        typed(&refusal.action, Type::TEXT),
        typed(&presented, Type::TEXT),
        typed(&refusal.request_id, Type::TEXT),
        typed(&ip, Type::TEXT),
        typed(&details, Type::JSONB),
    ];
    let sql = "INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target, request_id, client_ip, details) \
               VALUES ($1, 'anonymous', 'refused', $2, $3, $4, $5, $6)";
    client.execute_typed(sql, &params).await?;
    client.give_back();
    Ok(())
}
