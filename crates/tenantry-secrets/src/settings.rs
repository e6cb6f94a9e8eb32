use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The variable that holds master keys themselves, in the form of the file, for platforms that inject secrets as variables.
pub const VARIABLE: &str = "TENANTRY_MASTER_KEYS";

/// Who keeps the master key that wraps new data keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterSource {
    /// Nobody: secrets are refused.
    #[default]
    None,
    /// A file.
    File,
    /// The environment.
    Environment,
    /// The transit engine of HashiCorp Vault.
    Vault,
    /// AWS Secrets Manager.
    Aws,
}

/// Secrets at rest: where the master keys are.
///
/// `source` names the keeper of the key that wraps new data keys. Any other that is configured as well is asked for the keys
/// that it has wrapped, so that a server can move from one keeper to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsConfig {
    /// `none`, `file`, `environment` (the variable `TENANTRY_MASTER_KEYS`), `vault` or `aws`. Default: `none`.
    pub source: MasterSource,
    /// The file with master keys: a line for each, id and base64 of 32 bytes; the last one wraps new data keys.
    /// Environment: `TENANTRY_MASTER_KEY_FILE`.
    pub file: Option<PathBuf>,
    /// How long a tenant's data key stays in memory, at most an hour. Default: 300 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub cache_ttl: Duration,
    /// The server that keeps master keys in its transit engine.
    pub vault: Option<VaultConfig>,
    /// The secret that holds master keys.
    pub aws: Option<AwsConfig>,
}

impl SecretsConfig {
    /// A data key stays in memory no longer than this, whatever the settings say.
    pub const MAX_CACHE_TTL: Duration = Duration::from_secs(3600);
}

impl Default for SecretsConfig {
    fn default() -> Self {
        Self { source: MasterSource::None, file: None, cache_ttl: Duration::from_secs(300), vault: None, aws: None }
    }
}

/// A key of HashiCorp Vault's transit engine (or `OpenBao`'s).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// Such as `https://vault.example.com:8200`.
    pub address: String,
    /// Where the transit engine is mounted. Default: `transit`.
    #[serde(default = "default_mount")]
    pub mount: String,
    /// The key's name; it must exist. Default: `tenantry`.
    #[serde(default = "default_key")]
    pub key: String,
    /// The file with the token, read anew for every request, as an agent keeps it fresh. Without one, the variable
    /// `VAULT_TOKEN` is used.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The namespace, where the server has namespaces.
    #[serde(default)]
    pub namespace: Option<String>,
    /// How long a request may take. Default: 5 s.
    #[serde(default = "default_timeout", with = "tenantry_core::serde_seconds")]
    pub timeout: Duration,
}

/// A secret of AWS Secrets Manager that holds master keys in the form of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// The secret's name or ARN.
    pub secret_id: String,
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// Another address than the region's, such as one inside a private network.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// How long a request may take. Default: 5 s.
    #[serde(default = "default_timeout", with = "tenantry_core::serde_seconds")]
    pub timeout: Duration,
}

fn default_mount() -> String {
    "transit".to_owned()
}

fn default_key() -> String {
    "tenantry".to_owned()
}

const fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_configured_by_default_and_wrong_names_are_refused() {
        let config: SecretsConfig = serde_json::from_str("{}").unwrap();
        assert_eq!((config.source, config.cache_ttl.as_secs()), (MasterSource::None, 300));
        assert!(serde_json::from_str::<SecretsConfig>(r#"{"fiel": "x"}"#).is_err());
        assert!(serde_json::from_str::<SecretsConfig>(r#"{"source": "kms"}"#).is_err());
        let vault = r#"{"source": "vault", "vault": {"address": "https://vault:8200"}}"#;
        let vault = serde_json::from_str::<SecretsConfig>(vault).unwrap().vault.unwrap();
        assert_eq!((vault.mount.as_str(), vault.key.as_str()), ("transit", "tenantry"));
    }
}
