//! Buckets in a Redis or Valkey that several servers share.
//!
//! Nobody waits for it longer than the time limit, and while it is away nobody waits at all: a task of its own keeps connecting,
//! and until it has succeeded each server counts by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::rate::{Bucket, Buckets, Met};

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rate_shared.lua")));

/// How long a connection may take to be ready.
const CONNECT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often [`Shared::ready`] looks.
const LOOK: Duration = Duration::from_millis(10);

/// The address of a Redis, which may hold a password and is not shown in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisUrl(..)")
    }
}

/// The address cannot be used. The URL is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`http.rate_limit.redis_url` is not the URL of a Redis, such as `redis://10.0.0.5:6379/0`: {0}")]
pub struct RedisUrlError(String);

/// The shared count.
pub(crate) struct Shared {
    link: Arc<Link>,
    connecting: Option<AbortHandle>,
    timeout: Duration,
}

struct Link {
    /// With a number, so that a request that failed on an older connection does not take away a newer one.
    connection: Mutex<Option<(u64, MultiplexedConnection)>>,
    lost: Notify,
    failures: AtomicU64,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, MultiplexedConnection)>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, number: u64, why: &dyn std::fmt::Display) {
        let mut connection = self.lock();
        if connection.as_ref().is_some_and(|(current, _)| *current == number) {
            *connection = None;
            tracing::warn!(
                target: "tenantry::rate_limit", error = %why,
                "the shared rate limits are away: each server counts by itself until they are back"
            );
            self.lost.notify_one();
        }
    }
}

impl Shared {
    /// Begins to connect, in the background.
    pub(crate) fn start(url: &RedisUrl, timeout: Duration) -> Result<Self, RedisUrlError> {
        let client = Client::open(url.0.as_str()).map_err(|error| RedisUrlError(error.to_string()))?;
        let link = Arc::new(Link { connection: Mutex::default(), lost: Notify::new(), failures: AtomicU64::new(0) });
        // Without a runtime there is nobody to serve either.
        let runtime = tokio::runtime::Handle::try_current().ok();
        let task = runtime.map(|runtime| runtime.spawn(keep_connected(client, Arc::clone(&link), timeout)));
        Ok(Self { link, connecting: task.map(|task| task.abort_handle()), timeout })
    }

    pub(crate) async fn ready(&self, limit: Duration) -> bool {
        let connected = async {
            while !self.is_connected() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(limit, connected).await.is_ok()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.lock().is_some()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.link.failures.load(Ordering::Relaxed)
    }

    /// Counts a request. `None`: it could not be counted here.
    pub(crate) async fn take(&self, buckets: &Buckets) -> Option<Met> {
        let current = self.link.lock().clone();
        let Some((number, mut connection)) = current else {
            self.link.failures.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let mut call = TAKE.prepare_invoke();
        for (bucket, rate) in buckets.iter() {
            call.key(name(bucket, buckets)).arg(rate.per_minute);
        }
        let answer = tokio::time::timeout(self.timeout, call.invoke_async::<Vec<i64>>(&mut connection)).await;
        let ahead = match answer {
            Ok(Ok(ahead)) => ahead,
            Ok(Err(error)) => return self.failed(number, &error),
            Err(_) => return self.failed(number, &format_args!("no answer within {} ms", self.timeout.as_millis())),
        };
        let mut ahead = ahead.into_iter();
        Some(buckets.meet(|_| ahead.next().unwrap_or(0)))
    }

    fn failed(&self, number: u64, why: &dyn std::fmt::Display) -> Option<Met> {
        self.link.failures.fetch_add(1, Ordering::Relaxed);
        self.link.lose(number, why);
        None
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(connecting) = &self.connecting {
            connecting.abort();
        }
    }
}

/// The part in braces puts a tenant's buckets into one slot of a Redis cluster: a script reaches one only.
fn name(bucket: Bucket, buckets: &Buckets) -> String {
    match bucket {
        Bucket::Tenant(id) => format!("tenantry:rate:{{{id}}}"),
        Bucket::Key(key) => format!("tenantry:rate:{{{}}}:{key}", buckets.tenant),
    }
}

async fn keep_connected(client: Client, link: Arc<Link>, timeout: Duration) {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(timeout));
    let (mut number, mut pause, mut told) = (0, FIRST_PAUSE, false);
    loop {
        match connect(&client, &config).await {
            Ok(connection) => {
                number += 1;
                *link.lock() = Some((number, connection));
                tracing::info!(target: "tenantry::rate_limit", "rate limits are shared with other servers");
                (pause, told) = (FIRST_PAUSE, true);
                link.lost.notified().await;
            }
            Err(error) => {
                if !told {
                    tracing::warn!(
                        target: "tenantry::rate_limit", %error,
                        "the shared rate limits cannot be reached: each server counts by itself until they can"
                    );
                    told = true;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A connection that has answered: one that is merely open may lead nowhere.
async fn connect(client: &Client, config: &AsyncConnectionConfig) -> Result<MultiplexedConnection, String> {
    let connected = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        TAKE.load_async(&mut connection).await?;
        Ok::<_, redis::RedisError>(connection)
    };
    match tokio::time::timeout(CONNECT, connected).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let url = RedisUrl::from("redis://:very-secret@h:1/0".to_owned());
        assert!(!format!("{url:?}").contains("secret"));
        let error = Shared::start(&RedisUrl::from("http://:very-secret@h/".to_owned()), CONNECT).err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
