//! The life of tenants: created whole or not at all, suspended, deleted with grace, purged; and their keys.

mod beside;
mod billing;
mod create;
mod ddl;
mod events;
mod key_rate;
pub(crate) mod keys;
mod lifecycle;
mod list;
mod measure;
mod operators;
mod plans;
mod purge;
mod reads;
mod schema;
mod update;
mod usage;
mod warm;

pub use billing::{
    BillingEvent, BillingEventRow, BillingFilter, BillingOutcome, BillingPolicy, EventKind, OnCancelled, OnPastDue,
    Standing, TenantBilling,
};
pub use events::{AuditEvent, AuditFilter};
pub(crate) use list::by_slug;
pub use measure::{Measured, QuotaNotice};
pub use operators::{CreatedOperator, OperatorInfo};
pub use plans::{NewPlan, Plan, PlanPatch};
pub use reads::{ReadRequest, ReadRows};
pub use schema::{AuditedTable, TenantSchema};
pub use usage::{QuotaPercent, QuotaUse, TenantUsage};
pub use warm::{Refilled, WarmStatus};

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tenantry_core::{ApiKeyId, Slug, TenantId, TenantStatus};
use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::clients::{Clients, Lent, typed};
use crate::config::{ClusterSecret, DatabaseConfig};
use crate::connect::Logins;
use crate::error::{DbError, ProvisionError};
use crate::once::{self, OnceRequest};
use crate::registry::Actor;

/// Changes the fleet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Provisioner {
    migrator: Clients,
    control: Clients,
    auditor: Clients,
    schema: Arc<TenantSchema>,
    secret: ClusterSecret,
    database: String,
    cell_capacity: i32,
    grace: TimeDelta,
    billing: Arc<BillingPolicy>,
    /// The request that the next change answers, if it may be repeated.
    once: Option<Arc<OnceRequest>>,
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantRow {
    /// Id.
    pub id: TenantId,
    /// Public name.
    #[serde(deserialize_with = "registered")]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKeyInfo {
    /// Id.
    pub id: ApiKeyId,
    /// Name.
    pub name: String,
    /// The public part of the token, to recognise it by.
    pub lookup: String,
    /// Limits of the key; empty is none.
    pub scopes: Vec<String>,
    /// What it may send in a minute; none is as much as the tenant.
    pub requests_per_minute: Option<i32>,
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
            auditor: Clients::new(database.clone(), Logins::AUDITOR, 2),
            schema: Arc::new(schema),
            secret: database.secret.clone(),
            database: database.database().to_owned(),
            cell_capacity: i32::from(cell_capacity.max(1)),
            grace: TimeDelta::days(30),
            billing: Arc::default(),
            once: None,
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

    /// Sets what follows from what the payment provider says; see [`BillingPolicy`].
    #[must_use]
    pub fn with_billing(mut self, policy: BillingPolicy) -> Self {
        self.billing = Arc::new(policy);
        self
    }

    /// The same, for one request: its change is made once, and the same request again gets the same answer.
    #[must_use]
    pub fn once(&self, request: Option<OnceRequest>) -> Self {
        Self { once: request.map(Arc::new), ..self.clone() }
    }

    /// Connections of the control role.
    pub(crate) const fn control(&self) -> &Clients {
        &self.control
    }

    /// Begins the transaction of a change, unless it is made already: then here is its answer.
    async fn start<T: DeserializeOwned>(&self, client: &Client) -> Result<Option<T>, ProvisionError> {
        once::start(client, once::BEGIN, self.once.as_deref()).await
    }

    /// Ends the transaction of a change.
    async fn finish<T: Serialize>(&self, client: Lent, answer: &T) -> Result<(), ProvisionError> {
        once::finish(&client, self.once.as_deref(), answer).await?;
        client.give_back();
        Ok(())
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

/// A slug that was given away: it may have been reserved since.
fn registered<'de, D: Deserializer<'de>>(from: D) -> Result<Slug, D::Error> {
    Slug::from_registry(&String::deserialize(from)?).map_err(serde::de::Error::custom)
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

pub(crate) fn check_email(email: &str) -> Result<(), ProvisionError> {
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
pub(crate) fn check_name(name: &str) -> Result<(), ProvisionError> {
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

/// An expiry that has passed would make a token that was never valid: certainly a mistake. It is asked for when it is known that the
/// request was not answered before: what was made then stays made, whatever its end.
pub(crate) fn check_expiry(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), ProvisionError> {
    match expires_at {
        Some(at) if at <= now => {
            Err(ProvisionError::Invalid { member: "expires_at", detail: format!("`{}` has passed", at.to_rfc3339()) })
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_limit(member: &'static str, limit: Option<i32>, least: i32) -> Result<(), ProvisionError> {
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
            let label = |l: &&str| {
                (1..=63).contains(&l.len())
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !l.starts_with('-')
                    && !l.ends_with('-')
            };
            // No top level domain is a number, and what ends with one is read as an address of IPv4 by many, `127.1` for one.
            let number =
                labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) || is_hexadecimal(last));
            let fine = host.len() <= 253 && labels.len() > 1 && labels.iter().all(label) && !number;
            if fine {
                Ok(host)
            } else {
                let detail = format!("`{}` is not a host name", start_of(domain));
                Err(ProvisionError::Invalid { member: "allowed_domains", detail })
            }
        })
        .collect()
}

/// `0x7f`, which is a number to what reads addresses.
fn is_hexadecimal(label: &str) -> bool {
    label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_not_addresses() {
        for (given, stored) in
            [("App.Example.COM.", "app.example.com"), ("xn--bcher-kva.example", "xn--bcher-kva.example")]
        {
            assert_eq!(normal_domains(&[given.to_owned()]).unwrap(), [stored]);
        }
        for bad in [
            "-.-",
            "127.1",
            "127.0.0.1",
            "10.0x7f",
            "1.2.3",
            "a..b",
            "-a.example",
            "a-.example",
            "localhost",
            "",
            ".",
            "a_b.example",
            "::1",
        ] {
            assert!(normal_domains(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
