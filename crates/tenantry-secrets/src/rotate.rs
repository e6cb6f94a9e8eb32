//! Rotation: of the master key, by wrapping all data keys anew, and of a tenant's data key, by giving it another.
//!
//! Both keys can be used all the while: what is wrapped or sealed says by which key it was.

use futures_util::StreamExt as _;
use serde::Serialize;
use tenantry_core::TenantId;
use tenantry_postgres::{Actor, MasterKeyUse, StoredDataKey, TenantContext};

use crate::error::SecretsError;
use crate::secrets::{Inner, Secrets, parts};

const BATCH: i64 = 200;
/// A keeper on the network takes milliseconds for each; more at once would crowd out the servers.
const AT_ONCE: usize = 8;

/// Which keys are in use.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The master key that wraps new data keys.
    pub current_master_key: String,
    /// Master keys by the data keys they wrap.
    pub master_keys: Vec<MasterKeyUse>,
    /// Data keys that another master key than the current one wraps.
    pub to_rewrap: i64,
}

/// How far a rotation of the master key is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Data keys to wrap anew when it began.
    pub total: u64,
    /// Wrapped anew.
    pub rewrapped: u64,
    /// Could not be wrapped anew.
    pub failed: u64,
}

/// What a rotation of the master key did.
#[derive(Debug, Serialize)]
pub struct Rewrapped {
    /// The master key that wraps them now.
    pub master_key_id: String,
    /// How many were wrapped anew.
    pub rewrapped: u64,
    /// Those that could not be, with the reason. They stay as they were.
    pub failed: Vec<FailedKey>,
}

/// A data key that was not wrapped anew.
#[derive(Debug, Serialize)]
pub struct FailedKey {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Its version.
    pub version: i32,
    /// Why not.
    pub reason: String,
}

impl Secrets {
    /// Which keys are in use.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn status(&self) -> Result<Status, SecretsError> {
        let inner = self.inner()?;
        let current_master_key = inner.masters.current().await?;
        let master_keys = inner.store.master_keys().await?;
        let others = master_keys.iter().filter(|used| used.master_key_id != current_master_key);
        let to_rewrap = others.map(|used| used.data_keys).sum();
        Ok(Status { current_master_key, master_keys, to_rewrap })
    }

    /// Wraps all data keys (or one tenant's) with the current master key that another one wraps. Each is replaced by itself, so
    /// it can be interrupted anywhere, and started again does what is left. Keys that cannot be unwrapped are told and stay.
    ///
    /// # Errors
    /// [`SecretsError`] of the database or of the current master key.
    pub async fn rewrap(
        &self,
        tenant: Option<TenantId>,
        actor: &Actor,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Rewrapped, SecretsError> {
        let inner = self.inner()?;
        let status = self.status().await?;
        let current = status.current_master_key;
        let mut progress = Progress { total: u64::try_from(status.to_rewrap).unwrap_or(0), ..Progress::default() };
        let (mut failed, mut after) = (Vec::new(), None);
        loop {
            let batch = inner.store.not_wrapped_by(&current, tenant, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some((last.tenant, last.version));
            let jobs = batch.into_iter().map(async |stored| {
                let outcome = rewrap_one(inner, &stored).await;
                (stored, outcome)
            });
            let mut outcomes = futures_util::stream::iter(jobs).buffer_unordered(AT_ONCE);
            while let Some((stored, outcome)) = outcomes.next().await {
                match outcome {
                    Ok(changed) => progress.rewrapped += u64::from(changed),
                    Err(SecretsError::Database(error)) => return Err(error.into()),
                    Err(error) => {
                        progress.failed += 1;
                        let (tenant_id, version, reason) = (stored.tenant, stored.version, error.to_string());
                        failed.push(FailedKey { tenant_id, version, reason });
                    }
                }
            }
            on_progress(progress);
        }
        inner.store.note_rotation(actor, tenant, &current, progress.rewrapped, progress.failed).await?;
        Ok(Rewrapped { master_key_id: current, rewrapped: progress.rewrapped, failed })
    }

    /// Gives a tenant a new data key. What was sealed before still opens; whoever keeps the rows seals them anew.
    /// Servers that have the old key in memory go on sealing with it until their entry has ended.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn rotate_data_key(&self, context: &TenantContext) -> Result<i32, SecretsError> {
        let inner = self.inner()?;
        inner.forget_current(context.id());
        let version = inner.current(context).await?.version();
        let sealer = inner.succeed(context, version).await?;
        Ok(sealer.version())
    }

    /// When a tenant's current data key was made; `None` when it has none.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn data_key_made_at(
        &self,
        context: &TenantContext,
    ) -> Result<Option<chrono::DateTime<chrono::Utc>>, SecretsError> {
        Ok(self.inner()?.store.current(context).await?.map(|stored| stored.created_at))
    }
}

async fn rewrap_one(inner: &Inner, stored: &StoredDataKey) -> Result<bool, SecretsError> {
    let (wrapped, binding) = parts(stored);
    let key = inner.masters.unwrap(&wrapped, &binding).await?;
    let anew = inner.masters.wrap(&key, &binding).await?;
    Ok(inner.store.rewrap(stored, &anew.bytes, &anew.master_key_id).await?)
}
