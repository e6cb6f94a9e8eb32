use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_http::Role;
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Position;

/// What a member may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
pub enum MemberRole {
    /// Reads.
    Viewer,
    /// Does the daily work.
    Member,
    /// Manages keys, members and what costs money.
    Admin,
    /// Everything, including other owners.
    Owner,
}

impl From<Role> for MemberRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<MemberRole> for Role {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Viewer => Self::Viewer,
            MemberRole::Member => Self::Member,
            MemberRole::Admin => Self::Admin,
            MemberRole::Owner => Self::Owner,
        }
    }
}

/// Somebody who acts for the tenant with tokens of the identity provider.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "0193a5f0-7d2e-7c11-9c7b-3f0c5a1e2b4d", "subject": "auth0|62b0c1", "email": "ada@example.com", "role": "admin",
    "version": 1, "created_at": "2026-11-24T09:00:00Z", "updated_at": "2026-11-24T09:00:00Z",
}))]
pub struct Member {
    /// Id.
    pub id: Uuid,
    /// What the identity provider calls them: `sub` of their tokens.
    pub subject: String,
    /// How to reach them.
    #[schema(required)]
    pub email: Option<String>,
    /// What they may do.
    pub role: MemberRole,
    /// Counts changes, from 1.
    pub version: i64,
    /// Added.
    pub created_at: DateTime<Utc>,
    /// Last changed.
    pub updated_at: DateTime<Utc>,
}

impl crate::Record for Member {
    const FIELDS: &'static [&'static str] = &["id", "subject", "email", "role", "version", "created_at", "updated_at"];
}

impl From<registry::Member> for Member {
    fn from(member: registry::Member) -> Self {
        let registry::Member { id, subject, email, role, version, created_at, updated_at } = member;
        Self { id: *id.as_uuid(), subject, email, role: role.into(), version, created_at, updated_at }
    }
}

impl Member {
    /// Its place in the list.
    pub(super) fn position(&self) -> Position {
        Position { created_at: self.created_at, id: self.id }
    }
}
