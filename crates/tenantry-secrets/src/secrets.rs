use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use tenantry_core::{Clock, TenantId};
use tenantry_postgres::{DataKeyStore, DatabaseConfig, StoredDataKey, TenantContext};
use tokio::sync::Mutex;

use crate::cache::{Cache, Slot};
use crate::data_key::DataKey;
use crate::envelope::{MAX_BYTES, Place, Sealer, key_version};
use crate::error::SecretsError;
use crate::master::{Binding, Keepers, MasterKeyError, MasterKeys, Wrapped};
use crate::settings::SecretsConfig;

/// Loads of different tenants do not wait for each other, those of one tenant share one.
const LANES: usize = 64;
const SWEEP: Duration = Duration::from_secs(30);

/// Seals and opens the secrets of tenants. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Secrets {
    inner: Option<Arc<Inner>>,
}

pub(crate) struct Inner {
    pub(crate) store: DataKeyStore,
    pub(crate) masters: Arc<dyn MasterKeys>,
    cache: Cache,
    lanes: [Mutex<()>; LANES],
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.inner.is_some() { "Secrets(..)" } else { "Secrets(not configured)" })
    }
}

impl Secrets {
    /// None can be stored or read: the server has no master key.
    #[must_use]
    pub const fn none() -> Self {
        Self { inner: None }
    }

    /// With the master keys that the settings name. Keys from a file or the environment are read now, so that a server with a
    /// wrong one does not start; a keeper on the network is asked when it is needed.
    ///
    /// # Errors
    /// [`MasterKeyError`] for settings that cannot be used.
    pub async fn start(
        database: &DatabaseConfig,
        config: &SecretsConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MasterKeyError> {
        match Keepers::of(config, &clock).await? {
            Some(keepers) => Ok(Self::with(database, Arc::new(keepers), config.cache_ttl, clock)),
            None => Ok(Self::none()),
        }
    }

    /// With a keeper of master keys of one's own.
    #[must_use]
    pub fn with(
        database: &DatabaseConfig,
        masters: Arc<dyn MasterKeys>,
        cache_ttl: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let ttl = TimeDelta::from_std(cache_ttl.min(SecretsConfig::MAX_CACHE_TTL)).unwrap_or_default();
        let inner = Arc::new(Inner {
            store: DataKeyStore::new(database),
            masters,
            cache: Cache::new(ttl, clock),
            lanes: std::array::from_fn(|_| Mutex::default()),
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep(Arc::downgrade(&inner)));
        }
        Self { inner: Some(inner) }
    }

    /// Whether secrets can be stored and read at all.
    #[must_use]
    pub const fn is_configured(&self) -> bool {
        self.inner.is_some()
    }

    /// Data keys in memory now.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.cache.len())
    }

    /// Seals a value for its place. A tenant's first secret makes its data key.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn seal(
        &self,
        context: &TenantContext,
        place: Place,
        value: &SecretString,
    ) -> Result<Vec<u8>, SecretsError> {
        let value = value.expose_secret().as_bytes();
        if value.len() > MAX_BYTES {
            return Err(SecretsError::TooLong);
        }
        let sealer = self.inner()?.current(context).await?;
        sealer.seal(context.id(), &place, value).ok_or_else(|| unreadable(&place, "it could not be sealed"))
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn open(
        &self,
        context: &TenantContext,
        place: Place,
        sealed: &[u8],
    ) -> Result<SecretString, SecretsError> {
        let version = key_version(sealed).ok_or_else(|| unreadable(&place, "it is not a sealed value"))?;
        let sealer = self.inner()?.of_version(context, version).await?;
        let sealer = sealer.ok_or_else(|| unreadable(&place, "its data key does not exist"))?;
        let value = sealer.open(context.id(), &place, sealed);
        let value = value.ok_or_else(|| unreadable(&place, "it was not sealed for this place, or was changed"))?;
        // Exactly as long as it is: turning it into a secret then moves it and leaves no copy behind.
        let text = std::str::from_utf8(&value).map_err(|_| unreadable(&place, "it is not text"))?;
        Ok(SecretString::from(text.to_owned()))
    }

    /// The version of the data key that seals now. A value of another version is due to be sealed anew.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn current_version(&self, context: &TenantContext) -> Result<i32, SecretsError> {
        Ok(self.inner()?.current(context).await?.version())
    }

    pub(crate) fn inner(&self) -> Result<&Inner, SecretsError> {
        self.inner.as_deref().ok_or(SecretsError::NotConfigured)
    }
}

impl Inner {
    fn lane(&self, tenant: TenantId) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        &self.lanes[lane]
    }

    /// The tenant's sealing key; made if there is none yet.
    pub(crate) async fn current(&self, context: &TenantContext) -> Result<Arc<Sealer>, SecretsError> {
        let slot = Slot::Current(context.id());
        if let Some(sealer) = self.cache.get(slot) {
            return Ok(sealer);
        }
        let _lane = self.lane(context.id()).lock().await;
        if let Some(sealer) = self.cache.get(slot) {
            return Ok(sealer);
        }
        let sealer = match self.store.current(context).await? {
            Some(stored) => self.unwrap(&stored).await?,
            None => self.succeed(context, 0).await?,
        };
        self.keep(context.id(), &sealer, true);
        Ok(sealer)
    }

    async fn of_version(&self, context: &TenantContext, version: i32) -> Result<Option<Arc<Sealer>>, SecretsError> {
        let slots = [Slot::Current(context.id()), Slot::Version(context.id(), version)];
        let cached = || slots.iter().find_map(|slot| self.cache.get(*slot).filter(|key| key.version() == version));
        if let Some(sealer) = cached() {
            return Ok(Some(sealer));
        }
        let _lane = self.lane(context.id()).lock().await;
        if let Some(sealer) = cached() {
            return Ok(Some(sealer));
        }
        let Some(stored) = self.store.version(context, version).await? else { return Ok(None) };
        let sealer = self.unwrap(&stored).await?;
        self.keep(context.id(), &sealer, stored.retired_at.is_none());
        Ok(Some(sealer))
    }

    /// Makes the key after version `after`, or takes that of whoever was faster.
    pub(crate) async fn succeed(&self, context: &TenantContext, after: i32) -> Result<Arc<Sealer>, SecretsError> {
        let key = DataKey::generate();
        let binding = Binding { tenant: context.id(), version: after + 1 };
        let wrapped = self.masters.wrap(&key, &binding).await?;
        let added = self.store.succeed(context, after, &wrapped.bytes, &wrapped.master_key_id).await?;
        let sealer = if added {
            Arc::new(Sealer::new(&key, after + 1).ok_or(MasterKeyError::Damaged)?)
        } else {
            let stored = self.store.current(context).await?.ok_or(MasterKeyError::Damaged)?;
            self.unwrap(&stored).await?
        };
        self.keep(context.id(), &sealer, true);
        Ok(sealer)
    }

    fn keep(&self, tenant: TenantId, sealer: &Arc<Sealer>, current: bool) {
        if current {
            self.cache.put(Slot::Current(tenant), sealer);
        } else {
            self.cache.put(Slot::Version(tenant, sealer.version()), sealer);
        }
    }

    pub(crate) fn forget_current(&self, tenant: TenantId) {
        self.cache.forget(Slot::Current(tenant));
    }

    async fn unwrap(&self, stored: &StoredDataKey) -> Result<Arc<Sealer>, SecretsError> {
        let (wrapped, binding) = parts(stored);
        let key = self.masters.unwrap(&wrapped, &binding).await?;
        Ok(Arc::new(Sealer::new(&key, stored.version).ok_or(MasterKeyError::Damaged)?))
    }
}

/// A stored key as its keeper knows it.
pub(crate) fn parts(stored: &StoredDataKey) -> (Wrapped, Binding) {
    let wrapped = Wrapped { master_key_id: stored.master_key_id.clone(), bytes: stored.wrapped.clone() };
    (wrapped, Binding { tenant: stored.tenant, version: stored.version })
}

const fn unreadable(place: &Place, reason: &'static str) -> SecretsError {
    SecretsError::Unreadable { table: place.table, column: place.column, reason }
}

/// Ends with the last of its users.
async fn sweep(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        match inner.upgrade() {
            Some(inner) => inner.cache.sweep(),
            None => return,
        }
    }
}
