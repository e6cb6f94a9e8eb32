//! The transit engine of HashiCorp Vault: keys never leave it, data keys are sent to it.
//!
//! `POST /v1/<mount>/encrypt/<key>` and `…/decrypt/<key>`, `GET /v1/<mount>/keys/<key>` (Vault's HTTP API, transit secrets engine).
//! The id of a master key is `vault:<mount>/<key>:v<version>`.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Binding, MasterKeyError, MasterKeys, Wrapped, shown};
use crate::data_key::DataKey;
use crate::settings::VaultConfig;

pub(super) struct Vault {
    config: VaultConfig,
    base: Url,
    client: Client,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({}, {}/{})", self.base, self.config.mount, self.config.key)
    }
}

impl Vault {
    pub(super) fn new(config: &VaultConfig) -> Result<Self, MasterKeyError> {
        let wrong = || MasterKeyError::Unusable(format!("`{}` is not the address of a Vault server", config.address));
        let base = Url::parse(&config.address).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "https" | "http") || base.cannot_be_a_base() {
            return Err(wrong());
        }
        if !is_path(&config.mount) || !is_name(&config.key) {
            return Err(MasterKeyError::Unusable("`secrets.vault` names no mount or no key".to_owned()));
        }
        let client = Client::builder()
            .timeout(config.timeout)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| MasterKeyError::Unusable(error.to_string()))?;
        Ok(Self { config: config.clone(), base, client })
    }

    async fn token(&self) -> Result<Zeroizing<String>, MasterKeyError> {
        let Some(file) = &self.config.token_file else {
            return std::env::var("VAULT_TOKEN").map(Zeroizing::new).map_err(|_| {
                MasterKeyError::Unusable("there is no token for Vault: set `token_file` or VAULT_TOKEN".to_owned())
            });
        };
        let text = std::fs::read_to_string(file).map(Zeroizing::new);
        let text = text.map_err(|error| MasterKeyError::Unusable(format!("cannot read {}: {error}", shown(file))))?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }

    /// Asks, and gives `data` of the answer.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, MasterKeyError> {
        let unavailable = |what: String| MasterKeyError::Unavailable(what);
        let mut url = self.base.clone();
        url.set_path(&format!("{}/v1/{path}", self.base.path().trim_end_matches('/')));
        let token = self.token().await?;
        let mut request = self.client.request(method, url).header("x-vault-token", token.as_str());
        request = request.header("x-vault-request", "true");
        if let Some(namespace) = &self.config.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| unavailable(error.without_url().to_string()))?;
        let status = answer.status();
        let mut document: Value =
            answer.json().await.map_err(|_| unavailable(format!("Vault answered {status} without a document")))?;
        if status.is_success() {
            return Ok(document["data"].take());
        }
        let told = document["errors"].as_array().and_then(|errors| errors.first()).and_then(Value::as_str);
        let told = told.unwrap_or("no reason given").to_owned();
        // 400 is what Vault says to a ciphertext that it cannot open.
        if status == StatusCode::BAD_REQUEST {
            tracing::warn!(target: "tenantry::secrets", told, "vault refused a request");
            return Err(MasterKeyError::Damaged);
        }
        Err(unavailable(format!("Vault answered {status}: {told}")))
    }

    fn id(&self, version: u64) -> String {
        format!("vault:{}/{}:v{version}", self.config.mount, self.config.key)
    }
}

#[async_trait]
impl MasterKeys for Vault {
    async fn current(&self) -> Result<String, MasterKeyError> {
        let data = self.ask(Method::GET, &format!("{}/keys/{}", self.config.mount, self.config.key), None).await?;
        let version = data["latest_version"].as_u64().ok_or(MasterKeyError::Damaged)?;
        Ok(self.id(version))
    }

    async fn wrap(&self, key: &DataKey, binding: &Binding) -> Result<Wrapped, MasterKeyError> {
        let plaintext = Zeroizing::new(STANDARD.encode(key.expose()));
        let body = json!({ "plaintext": plaintext.as_str(), "associated_data": STANDARD.encode(binding.bytes()) });
        let path = format!("{}/encrypt/{}", self.config.mount, self.config.key);
        let data = self.ask(Method::POST, &path, Some(&body)).await?;
        let ciphertext = data["ciphertext"].as_str().ok_or(MasterKeyError::Damaged)?;
        let version = version_of(ciphertext).ok_or(MasterKeyError::Damaged)?;
        Ok(Wrapped { master_key_id: self.id(version), bytes: ciphertext.as_bytes().to_vec() })
    }

    async fn unwrap(&self, wrapped: &Wrapped, binding: &Binding) -> Result<DataKey, MasterKeyError> {
        let unknown = || MasterKeyError::UnknownKey(wrapped.master_key_id.clone());
        // By the id, so that a server that uses another key by now still opens what this one has wrapped.
        let (mount, key) = parse(&wrapped.master_key_id).ok_or_else(unknown)?;
        let ciphertext = std::str::from_utf8(&wrapped.bytes).map_err(|_| MasterKeyError::Damaged)?;
        let body = json!({ "ciphertext": ciphertext, "associated_data": STANDARD.encode(binding.bytes()) });
        let mut data = self.ask(Method::POST, &format!("{mount}/decrypt/{key}"), Some(&body)).await?;
        let Value::String(plaintext) = data["plaintext"].take() else { return Err(MasterKeyError::Damaged) };
        let plaintext = Zeroizing::new(plaintext);
        let bytes = Zeroizing::new(STANDARD.decode(plaintext.as_str()).map_err(|_| MasterKeyError::Damaged)?);
        DataKey::from_bytes(&bytes).ok_or(MasterKeyError::Damaged)
    }
}

/// The version in `vault:v3:…`.
fn version_of(ciphertext: &str) -> Option<u64> {
    ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
}

/// Mount and key of an id.
fn parse(id: &str) -> Option<(&str, &str)> {
    let (path, version) = id.strip_prefix("vault:")?.rsplit_once(":v")?;
    let (mount, key) = path.rsplit_once('/')?;
    (version.parse::<u64>().is_ok() && is_path(mount) && is_name(key)).then_some((mount, key))
}

/// A name that is one part of a path and nothing else.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !text.starts_with('.')
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_mount_key_and_version() {
        assert_eq!(parse("vault:team/transit/tenantry:v3"), Some(("team/transit", "tenantry")));
        for wrong in ["2026-01", "vault:transit:v1", "vault:transit/a:v", "vault:../sys/a:v1", "vault:t/a?b:v1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(version_of("vault:v12:abc"), Some(12));
        assert_eq!(version_of("v1:abc"), None);
    }
}
