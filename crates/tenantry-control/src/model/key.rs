use chrono::{DateTime, Utc};
use serde::Serialize;
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

use super::shown;

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// What the key is limited to; empty is nothing in particular.
    pub scopes: Vec<String>,
    /// What it may send in a minute; null is as much as the tenant.
    #[schema(required)]
    pub requests_per_minute: Option<i32>,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Not valid from then on.
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Names the key as it is, also as its `ETag`: another after a change. No count.
    pub version: i64,
}

impl From<registry::ApiKeyInfo> for Key {
    fn from(key: registry::ApiKeyInfo) -> Self {
        Self {
            version: key.version(),
            id: *key.id.as_uuid(),
            name: key.name,
            lookup: key.lookup,
            scopes: key.scopes,
            requests_per_minute: key.requests_per_minute,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A key just made, with its token.
#[derive(Serialize, ToSchema)]
pub struct NewKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// The whole token. This is the only time it is shown.
    pub token: String,
}

impl From<registry::CreatedKey> for NewKey {
    fn from(created: registry::CreatedKey) -> Self {
        Self { key: created.info.into(), token: shown(&created.token) }
    }
}
