use futures_util::future::join4;
use serde_json::{Value, json};
use tenantry_core::{ApiKeyId, MintedToken, RoleName, SchemaName, TenantId, TenantStatus};
use tokio_postgres::types::Type;

use super::{
    ApiKeyInfo, CreatedKey, CreatedTenant, NewTenant, OwnLimits, Provisioner, TenantRow, check_email, check_limit,
    check_plan, keys, normal_domains,
};
use crate::clients::{Lent, typed};
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::registry::Actor;

pub(super) const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'";

const CLAIM: &str = "SELECT tenant, cell, shard, schema_version, created_at, updated_at \
    FROM tenantry.claim_warm($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

const INSERT: &str = "INSERT INTO public.tenants (id, slug, schema_name, plan_tier, admin_email, allowed_domains, \
    max_agents, max_tasks_per_month, storage_limit_gb) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const SETTLE: &str = "SELECT cell, shard, login, made, created_at, updated_at \
    FROM tenantry.settle_tenant($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// One creation, checked.
struct Creation<'a> {
    new: &'a NewTenant,
    schema: SchemaName,
    domains: Vec<String>,
    limits: OwnLimits,
    actor: &'a Actor,
    key: ApiKeyId,
    minted: MintedToken,
    /// For the audit event.
    facts: Value,
}

impl Provisioner {
    /// Creates a tenant with its plan's limits: see [`create_with`](Self::create_with).
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with).
    pub async fn create(&self, new: &NewTenant, actor: &Actor) -> Result<CreatedTenant, ProvisionError> {
        self.create_with(new, OwnLimits::default(), actor).await
    }

    /// Creates a tenant: registry row, placement, role, schema, tables, grants, first key and audit event, in one transaction.
    /// Killed at any point it leaves nothing; after that it is complete. Where a warm schema waits, that is taken, which is a
    /// single request; a dedicated tenant's role is made anew always.
    ///
    /// # Errors
    /// [`ProvisionError::SlugTaken`] when the slug exists or is being created, [`ProvisionError::UnknownPlan`],
    /// [`ProvisionError::DomainTaken`], [`ProvisionError::Invalid`], [`ProvisionError::Database`].
    pub async fn create_with(
        &self,
        new: &NewTenant,
        limits: OwnLimits,
        actor: &Actor,
    ) -> Result<CreatedTenant, ProvisionError> {
        let domains = new.check(&limits)?;
        let client = self.migrator.get().await?;
        if self.once.is_some()
            && let Some((tenant, info)) =
                once::start::<(TenantRow, ApiKeyInfo)>(&client, BEGIN, self.once.as_deref()).await?
        {
            client.give_back();
            let token = self.token(info.id).text;
            return Ok(CreatedTenant { tenant, key: CreatedKey { info, token } });
        }
        let (key, minted) = keys::first(self);
        let creation = Creation {
            new,
            schema: SchemaName::for_slug(&new.slug),
            domains,
            limits,
            actor,
            key,
            minted,
            facts: json!({ "slug": new.slug, "plan_tier": new.plan_tier }),
        };
        let claimed = if new.dedicated {
            None
        } else {
            let row = self.claim(&client, &creation).await?;
            self.wanted.notify_one();
            row
        };
        let was_claimed = claimed.is_some();
        let tenant = match claimed {
            Some(tenant) => tenant,
            None => self.make(&client, &creation).await?,
        };
        let created = creation.created(tenant);
        if self.once.is_some() {
            self.finish(client, &(&created.tenant, &created.key.info)).await?;
        } else {
            // A claim is a transaction by itself.
            if !was_claimed {
                client.batch_execute("COMMIT").await?;
            }
            client.give_back();
        }
        Ok(created)
    }

    /// Takes a warm schema, if there is one that this program can serve.
    async fn claim(&self, client: &Lent, creation: &Creation<'_>) -> Result<Option<TenantRow>, ProvisionError> {
        let Creation { new, limits, actor, minted, .. } = creation;
        let (slug, schema, hash) = (new.slug.as_str(), creation.schema.as_str(), minted.hash.as_bytes());
        let params = [
            typed(&slug, Type::TEXT),
            typed(&schema, Type::TEXT),
            typed(&new.plan_tier, Type::TEXT),
            typed(&new.admin_email, Type::TEXT),
            typed(&creation.domains, Type::TEXT_ARRAY),
            typed(&limits.max_agents, Type::INT4),
            typed(&limits.max_tasks_per_month, Type::INT4),
            typed(&limits.storage_limit_gb, Type::INT4),
            typed(&self.schema.version, Type::INT4),
            typed(creation.key.as_uuid(), Type::UUID),
            typed(&minted.lookup, Type::TEXT),
            typed(&hash, Type::BYTEA),
            typed(&actor.kind, Type::TEXT),
            typed(&actor.name, Type::TEXT),
            typed(&actor.request_id, Type::TEXT),
            typed(&actor.client_ip, Type::TEXT),
            typed(&creation.facts, Type::JSONB),
        ];
        let rows = client.query_typed(CLAIM, &params).await.map_err(|error| creation.refused(error))?;
        let row = rows.first();
        Ok(row.map(|row| creation.row(TenantId::from_uuid(row.get("tenant")), row.get("schema_version"), row)))
    }

    /// Makes everything; the commit is left to the caller. What does not need an answer is sent at once: the server goes through it without waiting for us.
    async fn make(&self, client: &Lent, creation: &Creation<'_>) -> Result<TenantRow, ProvisionError> {
        let Creation { new, limits, actor, minted, .. } = creation;
        let (slug, schema, hash) = (new.slug.as_str(), creation.schema.as_str(), minted.hash.as_bytes());
        let id = TenantId::generate();
        let role = RoleName::for_tenant(id);
        let role_name = role.as_str();
        let inserted = [
            typed(id.as_uuid(), Type::UUID),
            typed(&slug, Type::TEXT),
            typed(&schema, Type::TEXT),
            typed(&new.plan_tier, Type::TEXT),
            typed(&new.admin_email, Type::TEXT),
            typed(&creation.domains, Type::TEXT_ARRAY),
            typed(&limits.max_agents, Type::INT4),
            typed(&limits.max_tasks_per_month, Type::INT4),
            typed(&limits.storage_limit_gb, Type::INT4),
        ];
        let make_role = if new.dedicated {
            self.login_ddl(role.as_str(), "INHERIT")
        } else {
            format!("CREATE ROLE {} NOLOGIN", role.quoted())
        };
        let ddl = format!("{make_role}; {}", self.schema_ddl(&creation.schema, &role));
        let settled = [
            typed(id.as_uuid(), Type::UUID),
            typed(&role_name, Type::TEXT),
            typed(&new.dedicated, Type::BOOL),
            typed(&self.cell_capacity, Type::INT4),
            typed(&self.schema.version, Type::INT4),
            typed(creation.key.as_uuid(), Type::UUID),
            typed(&minted.lookup, Type::TEXT),
            typed(&hash, Type::BYTEA),
            typed(&actor.kind, Type::TEXT),
            typed(&actor.name, Type::TEXT),
            typed(&actor.request_id, Type::TEXT),
            typed(&actor.client_ip, Type::TEXT),
            typed(&creation.facts, Type::JSONB),
        ];
        // The first to fail says why; after it the transaction takes nothing more.
        let (begun, registered, made, settled) = join4(
            client.batch_execute(BEGIN),
            client.execute_typed(INSERT, &inserted),
            client.batch_execute(&ddl),
            client.query_typed(SETTLE, &settled),
        )
        .await;
        begun?;
        registered.map_err(|error| creation.refused(error))?;
        made?;
        let rows = settled?;
        let settled = rows.first().ok_or(DbError::Misuse("a tenant was not placed"))?;
        let login: &str = settled.get("login");
        let rest = match (new.dedicated, settled.get("made")) {
            (true, _) => self.connect_ddl(login) + "; ",
            (false, true) => self.new_cell_ddl(login, &role) + "; ",
            (false, false) => String::new(),
        };
        if !rest.is_empty() {
            client.batch_execute(&rest).await?;
        }
        Ok(creation.row(id, self.schema.version, settled))
    }
}

impl NewTenant {
    /// Whether this could be a tenant, as far as that can be said without the registry. Gives its domains as they are stored.
    ///
    /// # Errors
    /// [`ProvisionError::Invalid`], [`ProvisionError::UnknownPlan`] for what no plan can be called.
    pub fn check(&self, limits: &OwnLimits) -> Result<Vec<String>, ProvisionError> {
        check_email(&self.admin_email)?;
        check_plan(&self.plan_tier)?;
        check_limit("max_agents", limits.max_agents, 0)?;
        check_limit("max_tasks_per_month", limits.max_tasks_per_month, 0)?;
        check_limit("storage_limit_gb", limits.storage_limit_gb, 0)?;
        normal_domains(&self.allowed_domains)
    }
}

impl Creation<'_> {
    /// The registry's row as it is now.
    fn row(&self, id: TenantId, schema_version: i32, row: &tokio_postgres::Row) -> TenantRow {
        TenantRow {
            id,
            slug: self.new.slug.clone(),
            schema_name: self.schema.as_str().to_owned(),
            status: TenantStatus::Active,
            plan_tier: self.new.plan_tier.clone(),
            admin_email: self.new.admin_email.clone(),
            allowed_domains: self.domains.clone(),
            max_agents: self.limits.max_agents,
            max_tasks_per_month: self.limits.max_tasks_per_month,
            storage_limit_gb: self.limits.storage_limit_gb,
            stripe_customer_id: None,
            stripe_subscription_id: None,
            statement_timeout_ms: None,
            lock_timeout_ms: None,
            canary: false,
            cell: row.get("cell"),
            shard: row.get("shard"),
            generation: 1,
            schema_version,
            created_at: row.get("created_at"),
            updated_at: row.get("updated_at"),
            deleted_at: None,
        }
    }

    fn created(self, tenant: TenantRow) -> CreatedTenant {
        let key = keys::stored_first(self.key, self.minted, tenant.created_at);
        CreatedTenant { tenant, key }
    }

    fn refused(&self, error: tokio_postgres::Error) -> ProvisionError {
        refused(error.into(), self.new.slug.as_str(), &self.new.plan_tier, &self.domains)
    }
}

/// Turns a violated constraint of the registry into what it means. Whoever waits in vain for another change that has the same slug
/// or domain is refused as if that were done: it most likely will be.
pub(super) fn refused(error: DbError, slug: &str, plan: &str, domains: &[String]) -> ProvisionError {
    let waited = |index| error.waited_for(index);
    match error.constraint() {
        Some("tenants_slug_key" | "tenants_schema_name_key") => ProvisionError::SlugTaken(slug.to_owned()),
        Some("tenants_plan_tier_fkey") => ProvisionError::UnknownPlan(plan.to_owned()),
        Some("tenant_domains_pkey") => ProvisionError::DomainTaken(domains.join(", ")),
        _ if waited("tenants_slug_key") || waited("tenants_schema_name_key") => {
            ProvisionError::SlugTaken(slug.to_owned())
        }
        _ if waited("tenant_domains_pkey") => ProvisionError::DomainTaken(domains.join(", ")),
        _ => ProvisionError::Database(error),
    }
}

impl std::fmt::Display for ApiKeyInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}
