use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tenantry_core::calendar::Tz;
use tenantry_core::{ApiKeyId, Generation, OperatorRole, Role, RoleName, SchemaName, Slug, TenantId, TenantStatus};
use uuid::Uuid;

use super::load::KeyRow;
use crate::CellId;

/// What a tenant may use, its own limits over its plan's. `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests a minute.
    pub requests_per_minute: Option<i32>,
    /// Live agents (or whatever the domain counts as its main thing).
    pub max_agents: Option<i32>,
    /// Tasks at work at the same time.
    pub max_concurrent_tasks: Option<i32>,
    /// Tasks created in a month.
    pub max_tasks_per_month: Option<i32>,
    /// Storage in gibibytes.
    pub storage_limit_gb: Option<i32>,
}

/// A tenant as the registry has it: an answer to "who is that", not a permission.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id for good.
    pub id: TenantId,
    /// Its public name.
    pub slug: Slug,
    /// Its schema.
    pub schema: SchemaName,
    /// Whether it is served.
    pub status: TenantStatus,
    /// Its plan.
    pub plan_tier: String,
    /// Custom hosts.
    pub allowed_domains: Vec<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Its limits.
    pub limits: Limits,
    /// Where its days and months begin; see [`tenantry_core::calendar`].
    pub time_zone: Tz,
    /// The currency it is shown amounts in (ISO 4217).
    pub display_currency: String,
    /// Its cell.
    pub cell: CellId,
    /// The version of its placement.
    pub generation: Generation,
    /// The migration its schema is at.
    pub schema_version: i32,
    pub(crate) login_role: String,
    pub(crate) dedicated: bool,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
}

/// A tenant's own time limits; `None` is the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimeLimits {
    statement: Option<Duration>,
    lock: Option<Duration>,
}

impl Tenant {
    pub(crate) const fn time_limits(&self) -> TimeLimits {
        TimeLimits { statement: self.statement_timeout, lock: self.lock_timeout }
    }

    /// The tenant's database role.
    #[must_use]
    pub fn role(&self) -> RoleName {
        RoleName::for_tenant(self.id)
    }
}

/// What in a request names a tenant. It identifies; it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identified {
    /// By slug: a subdomain or a header.
    Slug(Slug),
    /// By a custom host.
    Domain(String),
}

impl Identified {
    /// The name as presented.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Slug(slug) => slug.as_str(),
            Self::Domain(host) => host,
        }
    }
}

/// A token whose signature, issuer, audience and times were verified.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    pub(super) tenant_slug: Slug,
    subject: String,
    scopes: Vec<String>,
}

impl VerifiedToken {
    /// Vouches for a token: whoever calls this has verified it. A context is as good as this promise.
    #[must_use]
    pub const fn vouch(tenant_slug: Slug, subject: String, scopes: Vec<String>) -> Self {
        Self { tenant_slug, subject, scopes }
    }

    /// The tenant it is for.
    #[must_use]
    pub const fn tenant_slug(&self) -> &Slug {
        &self.tenant_slug
    }

    /// Who it is for.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What it is limited to.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

/// How a principal proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// An API key.
    ApiKey {
        /// The key's id.
        id: ApiKeyId,
        /// The key's name.
        name: String,
    },
    /// A signed token.
    Token,
    /// The platform itself.
    System {
        /// Why.
        reason: &'static str,
    },
}

/// Somebody who may act for one tenant. Made by the registry from a proven credential only.
#[derive(Debug, Clone)]
pub struct Principal {
    tenant: TenantId,
    subject: String,
    role: Role,
    scopes: Vec<String>,
    via: Via,
}

impl Principal {
    pub(super) fn for_key(key: &KeyRow) -> Self {
        Self {
            tenant: key.tenant,
            subject: format!("key:{}", key.id),
            role: Role::Owner,
            scopes: key.scopes.clone(),
            via: Via::ApiKey { id: key.id, name: key.name.clone() },
        }
    }

    pub(super) fn for_token(tenant: TenantId, token: VerifiedToken, role: Role) -> Self {
        Self { tenant, subject: token.subject, role, scopes: token.scopes, via: Via::Token }
    }

    pub(super) fn for_system(tenant: TenantId, reason: &'static str) -> Self {
        Self { tenant, subject: "system".into(), role: Role::Owner, scopes: Vec::new(), via: Via::System { reason } }
    }

    /// The tenant it may act for.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Who it is, as audit and logs name it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What it is within the tenant. A key has everything that its scopes leave it.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What the credential is limited to; empty is everything its role may do.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// How it proved itself.
    #[must_use]
    pub const fn via(&self) -> &Via {
        &self.via
    }

    /// The kind of actor that it is in the audit table.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.via {
            Via::ApiKey { .. } => "api_key",
            Via::Token => "token",
            Via::System { .. } => "system",
        }
    }
}

/// An operator of the platform. Made by the registry from a proven token only.
#[derive(Debug, Clone)]
pub struct Operator {
    id: Uuid,
    name: String,
    role: OperatorRole,
}

impl Operator {
    pub(super) const fn new(id: Uuid, name: String, role: OperatorRole) -> Self {
        Self { id, name, role }
    }

    /// What the operator may do.
    #[must_use]
    pub const fn role(&self) -> OperatorRole {
        self.role
    }

    /// The token's id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// The operator's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Who an audit event says did it, from where.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `api_key`, `token`, `operator`, `cli` or `system`.
    pub kind: &'static str,
    /// Who, within the kind.
    pub name: String,
    /// The request's id.
    pub request_id: Option<String>,
    /// The client's address.
    pub client_ip: Option<String>,
}

/// A verified right to act for one tenant that was served a moment ago. The registry alone makes it, and it is
/// checked again whenever a transaction is opened with it.
#[derive(Debug, Clone)]
pub struct TenantContext {
    tenant: Arc<Tenant>,
    principal: Arc<Principal>,
    request: Option<Arc<(String, Option<IpAddr>)>>,
}

impl TenantContext {
    pub(super) fn new(tenant: Arc<Tenant>, principal: Principal) -> Self {
        Self { tenant, principal: Arc::new(principal), request: None }
    }

    /// Adds the request this acts in, for audit events.
    #[must_use]
    pub fn for_request(mut self, request_id: &str, client_ip: Option<IpAddr>) -> Self {
        self.request = Some(Arc::new((request_id.to_owned(), client_ip)));
        self
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(crate) const fn tenant_arc(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.tenant.id
    }

    /// The tenant's slug.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.tenant.slug
    }

    /// Who acts.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn client_ip(&self) -> Option<IpAddr> {
        self.request.as_deref().and_then(|(_, ip)| *ip)
    }

    /// Who acts, as an audit event says it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let name = match self.principal.via() {
            Via::ApiKey { id, name } => format!("{name} ({id})"),
            Via::Token => self.principal.subject().to_owned(),
            Via::System { reason } => (*reason).to_owned(),
        };
        let request = self.request.as_deref();
        Actor {
            kind: self.principal.kind(),
            name,
            request_id: request.map(|(id, _)| id.clone()),
            client_ip: request.and_then(|(_, ip)| ip.map(|ip| ip.to_string())),
        }
    }
}
