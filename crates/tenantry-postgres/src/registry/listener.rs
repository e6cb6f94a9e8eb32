use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_postgres::AsyncMessage;

use super::cache::Cache;
use crate::config::{DatabaseConfig, RegistryConfig};
use crate::connect::{Logins, connect_with};
use crate::error::DbError;
use crate::events::{self, EventHub};

const CHANGES: &str = "tenantry_registry";
/// A server that accepts a connection and then says nothing is given up after this.
const ANSWER: Duration = Duration::from_secs(5);

/// Why a process is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The registry's changes are not heard.
    #[error("the registry's changes are not heard")]
    Listener,
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Database(String),
    /// The database refuses our login: another secret, or no such role or database.
    #[error("the database refuses the login: {0}")]
    Login(String),
    /// The database is behind this program.
    #[error("migrations are missing: {0}")]
    Migrations(String),
}

/// The task that hears the registry's changes.
///
/// It proves that it hears by sending itself a notification and waiting for it: a connection that is
/// merely open may be one whose notifications go nowhere.
pub(super) struct Listener {
    task: tokio::task::AbortHandle,
    cut_until: Arc<Mutex<Option<Instant>>>,
}

impl Listener {
    pub(super) fn spawn(database: DatabaseConfig, config: RegistryConfig, cache: Arc<Cache>, events: EventHub) -> Self {
        let cut_until = Arc::new(Mutex::new(None));
        let cut = Arc::clone(&cut_until);
        let task = tokio::spawn(async move {
            let mut pause = Duration::from_millis(20);
            loop {
                let began = Instant::now();
                let result =
                    if is_cut(&cut) { Ok(()) } else { listen(&database, &config, &cache, &events, &cut).await };
                cache.deaf();
                if let Err(error) = result {
                    tracing::warn!(%error, "the registry listener lost its connection");
                }
                if began.elapsed() > Duration::from_secs(1) {
                    pause = Duration::from_millis(20);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        });
        Self { task: task.abort_handle(), cut_until }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }

    pub(super) fn cut(&self, gap: Duration) {
        *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + gap);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_cut(cut: &Mutex<Option<Instant>>) -> bool {
    cut.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
}

/// Listens until the connection breaks or a heartbeat is not heard in time.
async fn listen(
    database: &DatabaseConfig,
    config: &RegistryConfig,
    cache: &Arc<Cache>,
    events: &EventHub,
    cut: &Mutex<Option<Instant>>,
) -> Result<(), DbError> {
    let beat_channel = format!("tenantry_beat_{}", uuid::Uuid::new_v4().simple());
    let (beats, mut beat) = mpsc::unbounded_channel::<u64>();
    let on_change = Arc::clone(cache);
    let on_events = events.clone();
    let own_channel = beat_channel.clone();
    #[cfg(feature = "negative-controls")]
    let invalidate = config.invalidate;
    #[cfg(not(feature = "negative-controls"))]
    let invalidate = true;
    let client = connect_with(database, &database.direct, Logins::CONTROL, move |message| {
        if let AsyncMessage::Notification(note) = message {
            if note.channel() == own_channel {
                if let Ok(number) = note.payload().parse() {
                    // The receiver is gone only when the connection is given up.
                    let _ = beats.send(number);
                }
            } else if note.channel() == events::CHANNEL {
                on_events.heard(note.payload());
            } else if invalidate {
                on_change.invalidate(note.payload());
            }
        }
    })
    .await?;
    let listen = format!("LISTEN {CHANGES}; LISTEN {beat_channel}; LISTEN {}", events::CHANNEL);
    match tokio::time::timeout(ANSWER, client.batch_execute(&listen)).await {
        Ok(listening) => listening?,
        Err(_) => return Err(DbError::Unavailable(format!("no answer to LISTEN within {ANSWER:?}"))),
    }
    // Whatever changed while nobody listened was missed.
    cache.clear();
    events.wake_all();
    let mut number = 0_u64;
    loop {
        if is_cut(cut) {
            return Ok(());
        }
        number += 1;
        let sent = Instant::now();
        let heard = async {
            client.batch_execute(&format!("NOTIFY {beat_channel}, '{number}'")).await?;
            while let Some(heard) = beat.recv().await {
                if heard == number {
                    return Ok(());
                }
            }
            Err(DbError::Unavailable("the listener's connection closed".into()))
        };
        match tokio::time::timeout(config.stale_after, heard).await {
            Ok(result) => result?,
            Err(_) => return Err(DbError::Unavailable("the listener did not hear itself in time".into())),
        }
        cache.heard(sent);
        tokio::time::sleep(config.heartbeat).await;
    }
}
