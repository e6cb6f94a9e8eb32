//! Verification of tokens (JWT, RFC 7519, with the practices of RFC 8725).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tenantry_core::{Clock, Role};
use tenantry_postgres::VerifiedToken;

use crate::claims;
use crate::jwks::{JwksCache, JwksConfig, JwksError};
use crate::keys::{self, JwtAlgorithm, JwtKeyFile, KeyError, VerifyingKey};

/// Longer texts are not looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// Whose tokens are accepted, and how they are read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The `iss` that tokens must have, exactly.
    pub issuer: String,
    /// The audiences of which `aud` must contain at least one.
    pub audiences: Vec<String>,
    /// How far the clocks of issuer and server may be apart for `exp` and `nbf`. Default: 30 s.
    #[serde(default = "default_leeway", with = "tenantry_core::serde_seconds")]
    pub leeway: Duration,
    /// The claim that holds the tenant's slug. Default: `tenant_slug`.
    #[serde(default = "default_tenant_claim")]
    pub tenant_claim: String,
    /// The claim that holds the scopes, as a list or separated by spaces. Default: `scope`.
    #[serde(default = "default_scope_claim")]
    pub scope_claim: String,
    /// What somebody may do whose token is good but who is none of the tenant's members: `none`, `viewer`, `member`, `admin` or
    /// `owner`. The identity provider says for which tenant a token is; who lets it decide that alone leaves this as it is.
    /// Default: `member`.
    #[serde(default)]
    pub unlisted_role: UnlistedRole,
    /// Keys in files.
    #[serde(default)]
    pub keys: Vec<JwtKeyFile>,
    /// Keys published by the identity provider.
    #[serde(default)]
    pub jwks: Option<JwksConfig>,
}

const fn default_leeway() -> Duration {
    Duration::from_secs(30)
}

fn default_tenant_claim() -> String {
    "tenant_slug".to_owned()
}

fn default_scope_claim() -> String {
    "scope".to_owned()
}

impl JwtConfig {
    /// A configuration with the defaults and no keys yet.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            leeway: default_leeway(),
            tenant_claim: default_tenant_claim(),
            scope_claim: default_scope_claim(),
            unlisted_role: UnlistedRole::default(),
            keys: Vec::new(),
            jwks: None,
        }
    }
}

/// What somebody may do whose token is good but who is none of the tenant's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnlistedRole {
    /// Nothing: only members are let in.
    None,
    /// As a member with this role.
    Viewer,
    /// As a member with this role.
    #[default]
    Member,
    /// As a member with this role.
    Admin,
    /// As a member with this role.
    Owner,
}

impl UnlistedRole {
    /// The role, if there is one.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::None => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Member => Some(Role::Member),
            Self::Admin => Some(Role::Admin),
            Self::Owner => Some(Role::Owner),
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtConfigError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The JWKS endpoint's settings.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// Nothing to verify with.
    #[error("tokens are configured without a key: give `keys` or `jwks`")]
    NoKeys,
    /// Tokens made for somebody else would be accepted.
    #[error("tokens are configured without an issuer or without an audience")]
    NoIssuerOrAudience,
    /// Two files could both answer for a token.
    #[error("two key files have the same `kid` and algorithm")]
    AmbiguousKeys,
}

/// Why a token is not believed. The text is for the log; the caller learns little of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three base64url parts with JSON in the first two, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// An algorithm that is not accepted, such as `none`.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// The header demands an extension (`crit`) that is not known here.
    #[error("the token needs an extension that is not supported")]
    Critical,
    /// No key of this name is for the token's algorithm.
    #[error("no key fits the token's `kid` and `alg`")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A claim is missing, has the wrong type or the wrong value.
    #[error("the token's claim `{0}` is missing or not acceptable")]
    Claim(String),
    /// The provider's keys cannot be had, so nothing can be said about the token.
    #[error("the keys to verify the token with are unavailable")]
    KeysUnavailable,
}

/// Verifies tokens of one issuer.
pub struct JwtVerifier {
    config: JwtConfig,
    keys: Vec<VerifyingKey>,
    jwks: Option<Arc<JwksCache>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtVerifier").field("issuer", &self.config.issuer).finish_non_exhaustive()
    }
}

/// The header's members that decide anything. `jku`, `jwk`, `x5u` and `x5c` are deliberately not read:
/// a token does not bring its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl JwtVerifier {
    /// Loads the keys in files. Keys of a JWKS endpoint are fetched when the first token needs them.
    pub fn new(config: JwtConfig, clock: Arc<dyn Clock>) -> Result<Self, JwtConfigError> {
        if config.keys.is_empty() && config.jwks.is_none() {
            return Err(JwtConfigError::NoKeys);
        }
        if config.issuer.is_empty() || config.audiences.is_empty() || config.audiences.iter().any(String::is_empty) {
            return Err(JwtConfigError::NoIssuerOrAudience);
        }
        let keys = config.keys.iter().map(VerifyingKey::load).collect::<Result<Vec<_>, _>>()?;
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|k| k.kid == key.kid && k.algorithm == key.algorithm) {
                return Err(JwtConfigError::AmbiguousKeys);
            }
        }
        let jwks = config.jwks.clone().map(|jwks| JwksCache::new(jwks, Arc::clone(&clock))).transpose()?;
        Ok(Self { config, keys, jwks: jwks.map(Arc::new), clock })
    }

    /// What somebody may do whose token is good but who is none of the tenant's members.
    #[must_use]
    pub const fn unlisted_role(&self) -> Option<Role> {
        self.config.unlisted_role.role()
    }

    /// Verifies a token's signature and claims.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = part(header)?;
        let algorithm = JwtAlgorithm::from_header(&header.alg).ok_or(TokenError::Algorithm)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let key = self.key(header.kid.as_deref(), algorithm).await?;
        if !key.verifies(message, signature) {
            return Err(TokenError::Signature);
        }
        // only now does anything in the payload count
        claims::check(part(payload)?, &self.config, self.clock.now())
    }

    async fn key(&self, kid: Option<&str>, algorithm: JwtAlgorithm) -> Result<VerifyingKey, TokenError> {
        if let Some(key) = keys::find(&self.keys, kid, algorithm) {
            return Ok(key.clone());
        }
        match &self.jwks {
            // a public endpoint has no shared secrets, so it is not even asked
            Some(jwks) if algorithm != JwtAlgorithm::Hs256 => jwks.key(kid, algorithm).await,
            _ => Err(TokenError::UnknownKey),
        }
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}
