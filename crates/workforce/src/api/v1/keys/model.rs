use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_postgres::ApiKeyInfo;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Position;

/// An API key without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4d", "name": "ci", "lookup": "kT0aYq3v9LxM", "scopes": ["tasks:read", "tasks:write"],
    "requests_per_minute": null, "created_at": "2026-11-24T09:00:00Z", "expires_at": "2027-11-24T09:00:00Z", "revoked_at": null,
}))]
pub struct ApiKey {
    /// Id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// The permissions it is limited to; empty is all.
    pub scopes: Vec<String>,
    /// What it may send in a minute; null is as much as the company.
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
}

impl crate::Record for ApiKey {
    const FIELDS: &'static [&'static str] =
        &["id", "name", "lookup", "scopes", "requests_per_minute", "created_at", "expires_at", "revoked_at"];
}

impl From<ApiKeyInfo> for ApiKey {
    fn from(key: ApiKeyInfo) -> Self {
        Self {
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

impl ApiKey {
    /// Its place in the list.
    pub(super) fn position(&self) -> Position {
        Position { created_at: self.created_at, id: self.id }
    }
}

/// A key just made, with its token.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewApiKey {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The whole token. This is the only time it is shown.
    pub token: String,
}
