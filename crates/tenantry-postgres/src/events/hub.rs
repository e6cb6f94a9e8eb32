use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenantry_core::{Slug, TenantId};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::EventsConfig;
use crate::registry::TenantContext;

/// Which streams of this process wait for which tenant's events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventHub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: EventsConfig,
    /// Tells this process's announcements from those of others.
    server: Uuid,
    state: Mutex<State>,
    /// Told when there is something to announce.
    pending: Notify,
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<TenantId, Topic>,
    streams: usize,
    /// Tenants with news that the other servers do not know of.
    pending: BTreeSet<TenantId>,
    /// Tenants whose old events are to be removed some time.
    unswept: HashMap<TenantId, Slug>,
}

#[derive(Debug)]
struct Topic {
    news: watch::Sender<()>,
    streams: usize,
}

/// No further stream is opened for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} streams of events are open, which is the most that {whose} may have on this server")]
pub struct TooManyStreams {
    /// The limit that holds.
    pub limit: usize,
    whose: &'static str,
}

impl EventHub {
    pub(crate) fn new(config: EventsConfig) -> Self {
        let inner = Inner {
            config,
            server: Uuid::new_v4(),
            state: Mutex::default(),
            pending: Notify::new(),
            closed: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &EventsConfig {
        &self.inner.config
    }

    /// Takes a place among the streams of a context's tenant. It is given back when the subscription is dropped.
    ///
    /// # Errors
    /// [`TooManyStreams`].
    pub fn subscribe(&self, context: &TenantContext) -> Result<Subscription, TooManyStreams> {
        let tenant = context.id();
        let config = self.config();
        let mut state = self.lock();
        if state.streams >= config.streams {
            return Err(TooManyStreams { limit: config.streams, whose: "all tenants together" });
        }
        let topic = state.topics.entry(tenant).or_insert_with(|| Topic { news: watch::Sender::new(()), streams: 0 });
        if topic.streams >= config.streams_per_tenant {
            return Err(TooManyStreams { limit: config.streams_per_tenant, whose: "a tenant" });
        }
        topic.streams += 1;
        let news = topic.news.subscribe();
        state.streams += 1;
        state.unswept.insert(tenant, context.slug().clone());
        drop(state);
        Ok(Subscription { hub: self.clone(), tenant, news, closed: self.inner.closed.subscribe() })
    }

    /// How many streams are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.lock().streams
    }

    /// Ends all streams, and every one that is opened from now on; used to end a process cleanly.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
    }

    /// A transaction of the tenant has published events and is committed.
    pub(crate) fn published(&self, tenant: TenantId, slug: &Slug) {
        let mut state = self.lock();
        state.wake(tenant);
        state.unswept.entry(tenant).or_insert_with(|| slug.clone());
        #[cfg(feature = "negative-controls")]
        if !self.inner.config.announce {
            return;
        }
        if state.pending.insert(tenant) {
            self.inner.pending.notify_one();
        }
    }

    /// Another server has said that the tenant has news.
    pub(super) fn wake(&self, tenant: TenantId) {
        self.lock().wake(tenant);
    }

    /// Whatever was said was perhaps not heard.
    pub(crate) fn wake_all(&self) {
        self.lock().topics.values().for_each(|topic| topic.news.send_replace(()));
    }

    pub(super) fn server(&self) -> Uuid {
        self.inner.server
    }

    /// Waits until there is something to announce.
    pub(super) async fn has_pending(&self) {
        self.inner.pending.notified().await;
    }

    /// Takes at most so many tenants to announce.
    pub(super) fn take_pending(&self, most: usize) -> Vec<TenantId> {
        let mut state = self.lock();
        let taken: Vec<TenantId> = state.pending.iter().copied().take(most).collect();
        for tenant in &taken {
            state.pending.remove(tenant);
        }
        taken
    }

    /// Announces again what could not be said.
    pub(super) fn put_back(&self, tenants: Vec<TenantId>) {
        self.lock().pending.extend(tenants);
        self.inner.pending.notify_one();
    }

    pub(super) fn take_unswept(&self) -> HashMap<TenantId, Slug> {
        std::mem::take(&mut self.lock().unswept)
    }

    /// A tenant has events left that will be too old some time.
    pub(super) fn sweep_again(&self, tenant: TenantId, slug: Slug) {
        self.lock().unswept.entry(tenant).or_insert(slug);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&self, tenant: TenantId) {
        if let Some(topic) = self.topics.get(&tenant) {
            topic.news.send_replace(());
        }
    }
}

/// A place among a tenant's streams. It hints at news of this tenant, and of no other.
#[derive(Debug)]
pub struct Subscription {
    hub: EventHub,
    tenant: TenantId,
    news: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Subscription {
    /// Resolves when there may be events since the last call of [`seen`](Self::seen), or the hub was closed. Cancel safe.
    pub async fn news(&mut self) {
        // An error of either says that its sender is gone, which is as good as closed; both live as long as this.
        tokio::select! {
            _ = self.closed.wait_for(|closed| *closed) => {}
            _ = self.news.changed() => {}
        }
    }

    /// What was hinted at until now is about to be read.
    pub fn seen(&mut self) {
        self.news.mark_unchanged();
    }

    /// Whether the hub was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.streams = state.streams.saturating_sub(1);
        if let Some(topic) = state.topics.get_mut(&self.tenant) {
            topic.streams -= 1;
            if topic.streams == 0 {
                state.topics.remove(&self.tenant);
            }
        }
    }
}
