//! The life of tenants: created whole or not at all, suspended, deleted with grace, purged; and their keys.

mod create;
mod ddl;
mod events;
mod keys;
mod lifecycle;
mod list;
mod operators;
mod plans;
mod purge;
mod schema;
mod update;
mod warm;

pub use events::{AuditEvent, AuditFilter};
pub use operators::{CreatedOperator, OperatorInfo};
pub use plans::Plan;
pub use schema::TenantSchema;
pub use warm::{Refilled, WarmStatus};

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use tenantry_core::{ApiKeyId, Slug, TenantId, TenantStatus};
use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::clients::{Clients, typed};
use crate::config::{ClusterSecret, DatabaseConfig};
use crate::connect::Logins;
use crate::error::{DbError, ProvisionError};
use crate::registry::Actor;

/// Changes the fleet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Provisioner {
    migrator: Clients,
    control: Clients,
    schema: Arc<TenantSchema>,
    secret: ClusterSecret,
    database: String,
    cell_capacity: i32,
    grace: TimeDelta,
    /// Told when a creation has taken a warm schema, or found none.
    wanted: Arc<Notify>,
}

/// What a new tenant is to be.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its public name.
    pub slug: Slug,
    /// Whom to write to.
    pub admin_email: String,
    /// Its plan.
    pub plan_tier: String,
    /// Its custom hosts.
    pub allowed_domains: Vec<String>,
    /// A cell and a login of its own.
    pub dedicated: bool,
}

/// Limits of a new tenant's own; `None` is the plan's value.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnLimits {
    /// Overrides the plan where set.
    pub max_agents: Option<i32>,
    /// Overrides the plan where set.
    pub max_tasks_per_month: Option<i32>,
    /// Overrides the plan where set.
    pub storage_limit_gb: Option<i32>,
}

/// A key's secret; it is shown once and stored nowhere.
#[derive(Debug)]
pub struct CreatedKey {
    /// The key.
    pub info: ApiKeyInfo,
    /// The whole token.
    pub token: SecretString,
}

/// A tenant just created, with its first key.
#[derive(Debug)]
pub struct CreatedTenant {
    /// The registry's row.
    pub tenant: TenantRow,
    /// Its first API key.
    pub key: CreatedKey,
}

/// A tenant's row for operators.
#[derive(Debug, Clone, Serialize)]
pub struct TenantRow {
    /// Id.
    pub id: TenantId,
    /// Public name.
    pub slug: Slug,
    /// Schema.
    pub schema_name: String,
    /// Status.
    pub status: TenantStatus,
    /// Plan.
    pub plan_tier: String,
    /// Contact.
    pub admin_email: String,
    /// Custom hosts.
    pub allowed_domains: Vec<String>,
    /// Overrides the plan where set.
    pub max_agents: Option<i32>,
    /// Overrides the plan where set.
    pub max_tasks_per_month: Option<i32>,
    /// Overrides the plan where set.
    pub storage_limit_gb: Option<i32>,
    /// Its customer at the payment provider.
    pub stripe_customer_id: Option<String>,
    /// Its subscription there.
    pub stripe_subscription_id: Option<String>,
    /// Time limit of a statement; the server's default unless set.
    pub statement_timeout_ms: Option<i32>,
    /// Time limit of waiting for a lock; the server's default unless set.
    pub lock_timeout_ms: Option<i32>,
    /// Whether it is migrated before all others.
    pub canary: bool,
    /// The cell it is placed in.
    pub cell: i32,
    /// The cell's shard.
    pub shard: String,
    /// The placement's version.
    pub generation: i64,
    /// The migration its schema is at.
    pub schema_version: i32,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Last changed.
    pub updated_at: DateTime<Utc>,
    /// Deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// An API key without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct ApiKeyInfo {
    /// Id.
    pub id: ApiKeyId,
    /// Name.
    pub name: String,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// Limits of the key; empty is none.
    pub scopes: Vec<String>,
    /// Created.
    pub created_at: DateTime<Utc>,
    /// Not valid from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Which tenants to list.
#[derive(Debug, Clone, Default)]
pub struct TenantFilter {
    /// Only of this status.
    pub status: Option<TenantStatus>,
    /// Only on this plan.
    pub plan_tier: Option<String>,
    /// Slugs that begin so.
    pub prefix: Option<String>,
    /// Slugs after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// What to change of a tenant; `None` keeps.
#[derive(Debug, Clone, Default)]
pub struct TenantPatch {
    /// Plan.
    pub plan_tier: Option<String>,
    /// Contact.
    pub admin_email: Option<String>,
    /// Custom hosts, all of them.
    pub allowed_domains: Option<Vec<String>>,
    /// `Some(None)` goes back to the plan's value.
    pub max_agents: Option<Option<i32>>,
    /// As above.
    pub max_tasks_per_month: Option<Option<i32>>,
    /// As above.
    pub storage_limit_gb: Option<Option<i32>>,
    /// `Some(None)` forgets it.
    pub stripe_customer_id: Option<Option<String>>,
    /// `Some(None)` forgets it.
    pub stripe_subscription_id: Option<Option<String>>,
    /// `Some(None)` goes back to the server's default.
    pub statement_timeout_ms: Option<Option<i32>>,
    /// `Some(None)` goes back to the server's default.
    pub lock_timeout_ms: Option<Option<i32>>,
    /// Whether it is migrated before all others.
    pub canary: Option<bool>,
    /// Change only the tenant whose `updated_at` this is: what the caller has read.
    pub if_updated_at: Option<DateTime<Utc>>,
}

/// What a deletion did.
#[derive(Debug, Clone, Serialize)]
pub struct DeleteOutcome {
    /// The tenant.
    pub tenant: TenantRow,
    /// The first moment it may be purged.
    pub purge_after: DateTime<Utc>,
}

impl Provisioner {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(database: &DatabaseConfig, schema: TenantSchema, cell_capacity: u16) -> Self {
        Self {
            migrator: Clients::new(database.clone(), Logins::MIGRATOR, 4),
            control: Clients::new(database.clone(), Logins::CONTROL, 4),
            schema: Arc::new(schema),
            secret: database.secret.clone(),
            database: database.database().to_owned(),
            cell_capacity: i32::from(cell_capacity.max(1)),
            grace: TimeDelta::days(30),
            wanted: Arc::default(),
        }
    }

    /// Sets how many changes of schemas may be made at a time, with a connection each; 4 unless set.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.migrator = self.migrator.with_connections(connections);
        self
    }

    /// Sets how long a deleted tenant's data is kept before it may be purged; 30 days unless set.
    #[must_use]
    pub const fn with_grace(mut self, grace: TimeDelta) -> Self {
        self.grace = grace;
        self
    }

    /// How long a deleted tenant's data is kept before it may be purged.
    #[must_use]
    pub const fn grace(&self) -> TimeDelta {
        self.grace
    }
}

impl Actor {
    /// Somebody at the command line.
    #[must_use]
    pub fn cli() -> Self {
        let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into());
        Self { kind: "cli", name: user, request_id: None, client_ip: None }
    }

    /// The platform itself.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self { kind: "system", name: name.to_owned(), request_id: None, client_ip: None }
    }

    /// An operator in a request.
    #[must_use]
    pub fn operator(operator: &crate::Operator, request_id: &str, client_ip: Option<std::net::IpAddr>) -> Self {
        Self {
            kind: "operator",
            name: operator.name().to_owned(),
            request_id: Some(request_id.to_owned()),
            client_ip: client_ip.map(|ip| ip.to_string()),
        }
    }
}

/// Writes the audit event of a change into the transaction that makes it.
pub(crate) async fn audit(
    client: &Client,
    tenant: Option<Uuid>,
    actor: &Actor,
    action: &str,
    target: &str,
    details: Value,
) -> Result<(), DbError> {
    let params: [(&(dyn ToSql + Sync), Type); 8] = [
        typed(&tenant, Type::UUID),
        typed(&actor.kind, Type::TEXT),
        typed(&actor.name, Type::TEXT),
        typed(&action, Type::TEXT),
        typed(&target, Type::TEXT),
        typed(&actor.request_id, Type::TEXT),
        typed(&actor.client_ip, Type::TEXT),
        typed(&details, Type::JSONB),
    ];
    let sql = "INSERT INTO audit.events (tenant_id, actor_kind, actor, action, target, request_id, client_ip, details) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    client.execute_typed(sql, &params).await?;
    Ok(())
}

const MAX_DOMAINS: usize = 100;

/// Begins a change of the registry. It waits for nobody longer than a caller does.
pub(crate) async fn begin(client: &Client) -> Result<(), DbError> {
    Ok(client.batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '15s'").await?)
}

fn check_email(email: &str) -> Result<(), ProvisionError> {
    let fine = email.len() <= 255
        && email.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
        })
        && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if fine {
        Ok(())
    } else {
        let detail = format!("`{}` is not an e-mail address", start_of(email));
        Err(ProvisionError::Invalid { member: "admin_email", detail })
    }
}

/// Enough of a refused value to recognise it by.
fn start_of(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The name of a key or an operator: a line of 1 to 100 characters.
fn check_name(name: &str) -> Result<(), ProvisionError> {
    if (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control) && name.trim() == name {
        return Ok(());
    }
    let detail = "a name has 1 to 100 characters, no control characters, and no white space at its ends".to_owned();
    Err(ProvisionError::Invalid { member: "name", detail })
}

/// Whatever cannot be in the table of plans is no plan; PostgreSQL would refuse some of it with other errors.
fn check_plan(tier: &str) -> Result<(), ProvisionError> {
    let fine = (1..=20).contains(&tier.chars().count()) && !tier.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(ProvisionError::UnknownPlan(start_of(tier))) }
}

fn check_limit(member: &'static str, limit: Option<i32>, least: i32) -> Result<(), ProvisionError> {
    match limit {
        Some(value) if value < least => {
            Err(ProvisionError::Invalid { member, detail: format!("`{member}` is at least {least}, not `{value}`") })
        }
        _ => Ok(()),
    }
}

fn normal_domains(domains: &[String]) -> Result<Vec<String>, ProvisionError> {
    if domains.len() > MAX_DOMAINS {
        let detail = format!("at most {MAX_DOMAINS} domains, not {}", domains.len());
        return Err(ProvisionError::Invalid { member: "allowed_domains", detail });
    }
    domains
        .iter()
        .map(|domain| {
            let host = domain.trim().trim_end_matches('.').to_ascii_lowercase();
            let labels = host.split('.').collect::<Vec<_>>();
            let label =
                |l: &&str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let fine = host.len() <= 253
                && labels.len() > 1
                && labels.iter().all(label)
                && host.parse::<std::net::IpAddr>().is_err();
            if fine {
                Ok(host)
            } else {
                let detail = format!("`{}` is not a host name", start_of(domain));
                Err(ProvisionError::Invalid { member: "allowed_domains", detail })
            }
        })
        .collect()
}
