use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Authorization of provider accounts by OAuth 2.0.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuthConfig {
    /// Where browsers reach `/oauth/callback` of this installation, such as `https://api.example.com/oauth/callback`. Each
    /// provider is to be told this address with `/` and its name after it.
    pub callback_url: Option<String>,
    /// How long a provider may take to answer. Default: 10 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub timeout: Duration,
    /// Providers by name, as the price catalogue calls them.
    pub providers: BTreeMap<String, OAuthProvider>,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self { callback_url: None, timeout: Duration::from_secs(10), providers: BTreeMap::new() }
    }
}

/// How a provider gives authorizations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthProvider {
    /// Where a person agrees.
    pub authorization_url: String,
    /// Where tokens are given.
    pub token_url: String,
    /// As the provider knows this installation.
    pub client_id: String,
    /// The file with the client's secret; none for a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Whether the client proves itself in a header (`basic`) or in the body (`body`). Default: `basic`.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The provider's issuer identifier. An answer that names another one is refused (RFC 9207).
    #[serde(default)]
    pub issuer: Option<String>,
    /// Refuse answers without an issuer, for providers that always name it. Default: no.
    #[serde(default)]
    pub requires_issuer: bool,
    /// What is asked for unless the caller says something else.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request, such as `access_type = "offline"`.
    #[serde(default)]
    pub authorization_parameters: BTreeMap<String, String>,
}

/// How the client proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// `Authorization: Basic`.
    #[default]
    Basic,
    /// `client_secret` in the body.
    Body,
}
