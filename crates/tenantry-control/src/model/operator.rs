use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tenantry_core::OperatorRole;
use tenantry_postgres as registry;
use utoipa::ToSchema;
use uuid::Uuid;

use super::shown;

/// What an operator's token may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperatorRole)]
pub enum Role {
    /// Reads the registry and the audit trail.
    #[default]
    Viewer,
    /// Suspends and resumes tenants, and reads a tenant's rows with a reason.
    Support,
    /// Everything.
    Admin,
}

impl From<OperatorRole> for Role {
    fn from(role: OperatorRole) -> Self {
        match role {
            OperatorRole::Viewer => Self::Viewer,
            OperatorRole::Support => Self::Support,
            OperatorRole::Admin => Self::Admin,
        }
    }
}

impl From<Role> for OperatorRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Support => Self::Support,
            Role::Admin => Self::Admin,
        }
    }
}

/// An operator's token without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Operator {
    /// Id.
    pub id: Uuid,
    /// Name, by which the audit trail calls the operator.
    pub name: String,
    /// What the token may do.
    pub role: Role,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Not valid from then on.
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl From<registry::OperatorInfo> for Operator {
    fn from(info: registry::OperatorInfo) -> Self {
        let registry::OperatorInfo { id, name, role, lookup, created_at, expires_at, revoked_at } = info;
        Self { id, name, role: role.into(), lookup, created_at, expires_at, revoked_at }
    }
}

/// An operator just made, with the token.
#[derive(Serialize, ToSchema)]
pub struct NewOperator {
    /// The operator.
    #[serde(flatten)]
    pub operator: Operator,
    /// The whole token. This is the only time it is shown.
    pub token: String,
}

impl From<registry::CreatedOperator> for NewOperator {
    fn from(created: registry::CreatedOperator) -> Self {
        Self { operator: created.info.into(), token: shown(&created.token) }
    }
}
