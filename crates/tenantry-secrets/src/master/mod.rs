//! Keepers of master keys.

#[cfg(feature = "aws")]
mod aws;
mod ring;
#[cfg(feature = "vault")]
mod vault;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tenantry_core::{Clock, TenantId};

use crate::data_key::DataKey;
use crate::settings::{MasterSource, SecretsConfig, VARIABLE};

pub use ring::{KeyRing, RingError, is_master_key_id, new_key_line};
pub(crate) use ring::{RingKeys, RingSource};

/// What a wrapped data key belongs to. It is authenticated with the key where the keeper can do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The tenant.
    pub tenant: TenantId,
    /// The version of its data key.
    pub version: i32,
}

impl Binding {
    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let parts: [&[u8]; 3] = [b"tenantry data key", self.tenant.as_uuid().as_bytes(), &self.version.to_be_bytes()];
        crate::envelope::joined(&parts)
    }
}

/// A data key under a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The master key that can unwrap it.
    pub master_key_id: String,
    /// What the master key made of it.
    pub bytes: Vec<u8>,
}

/// A keeper of master keys, which it does not give out.
#[async_trait]
pub trait MasterKeys: fmt::Debug + Send + Sync {
    /// The id of the key that wraps new data keys now.
    async fn current(&self) -> Result<String, MasterKeyError>;

    /// Wraps a data key with the current master key.
    async fn wrap(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError>;

    /// Unwraps a data key, with whichever master key it says.
    async fn unwrap(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError>;
}

/// Why a master key was not used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// No keeper has this key.
    #[error("master key `{0}` is not known here")]
    UnknownKey(String),
    /// The wrapped key is not what this master key made for this tenant.
    #[error("a wrapped data key does not open: it was changed, or belongs to another tenant")]
    Damaged,
    /// The settings or the keys themselves.
    #[error("master keys cannot be used: {0}")]
    Unusable(String),
    /// The keeper on the network.
    #[error("the keeper of the master key cannot be asked: {0}")]
    Unavailable(String),
}

/// All keepers that are configured. The first one wraps; each unwraps what it has wrapped.
#[derive(Debug)]
pub(crate) struct Keepers(Vec<Arc<dyn MasterKeys>>);

impl Keepers {
    /// The keepers of the settings; `None` where nobody keeps the current key.
    pub(crate) async fn of(config: &SecretsConfig, clock: &Arc<dyn Clock>) -> Result<Option<Self>, MasterKeyError> {
        if config.source == MasterSource::None {
            return Ok(None);
        }
        let mut keepers: Vec<(MasterSource, Arc<dyn MasterKeys>)> = Vec::new();
        if let Some(file) = &config.file {
            keepers.push((MasterSource::File, ring(RingSource::File(file.clone())).await?));
        }
        if std::env::var_os(VARIABLE).is_some() {
            keepers.push((MasterSource::Environment, ring(RingSource::Environment).await?));
        }
        if let Some(vault) = &config.vault {
            keepers.push((MasterSource::Vault, of_vault(vault)?));
        }
        if let Some(aws) = &config.aws {
            keepers.push((MasterSource::Aws, of_aws(aws, clock)?));
        }
        let Some(first) = keepers.iter().position(|(source, _)| *source == config.source) else {
            return Err(MasterKeyError::Unusable(match config.source {
                MasterSource::File => "`secrets.source` is `file`, and `secrets.file` names none".to_owned(),
                MasterSource::Environment => format!("`secrets.source` is `environment`, and {VARIABLE} is not set"),
                MasterSource::Vault => "`secrets.source` is `vault`, and there is no `[secrets.vault]`".to_owned(),
                MasterSource::Aws | MasterSource::None => {
                    "`secrets.source` is `aws`, and there is no `[secrets.aws]`".to_owned()
                }
            }));
        };
        keepers.swap(0, first);
        Ok(Some(Self(keepers.into_iter().map(|(_, keeper)| keeper).collect())))
    }
}

async fn ring(source: RingSource) -> Result<Arc<dyn MasterKeys>, MasterKeyError> {
    Ok(Arc::new(RingKeys::load(source).await?))
}

#[cfg(feature = "vault")]
fn of_vault(config: &crate::VaultConfig) -> Result<Arc<dyn MasterKeys>, MasterKeyError> {
    Ok(Arc::new(vault::Vault::new(config)?))
}

#[cfg(not(feature = "vault"))]
fn of_vault(_: &crate::VaultConfig) -> Result<Arc<dyn MasterKeys>, MasterKeyError> {
    Err(without("vault"))
}

#[cfg(feature = "aws")]
fn of_aws(config: &crate::AwsConfig, clock: &Arc<dyn Clock>) -> Result<Arc<dyn MasterKeys>, MasterKeyError> {
    let secret = aws::SecretsManager::new(config, Arc::clone(clock))?;
    Ok(Arc::new(RingKeys::lazy(RingSource::Aws(secret))))
}

#[cfg(not(feature = "aws"))]
fn of_aws(_: &crate::AwsConfig, _: &Arc<dyn Clock>) -> Result<Arc<dyn MasterKeys>, MasterKeyError> {
    Err(without("aws"))
}

#[cfg(not(all(feature = "vault", feature = "aws")))]
fn without(feature: &str) -> MasterKeyError {
    MasterKeyError::Unusable(format!("this program was built without `{feature}`"))
}

#[async_trait]
impl MasterKeys for Keepers {
    async fn current(&self) -> Result<String, MasterKeyError> {
        self.0[0].current().await
    }

    async fn wrap(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError> {
        self.0[0].wrap(key, binding).await
    }

    async fn unwrap(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError> {
        for keeper in &self.0 {
            match keeper.unwrap(wrapped, binding).await {
                Err(MasterKeyError::UnknownKey(_)) => {}
                answer => return answer,
            }
        }
        Err(MasterKeyError::UnknownKey(wrapped.master_key_id.clone()))
    }
}

/// A file's name in messages.
fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}
