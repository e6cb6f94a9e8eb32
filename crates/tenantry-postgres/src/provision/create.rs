use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::json;
use tenantry_core::{RoleName, SchemaName, TenantId, quote_identifier};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{
    ApiKeyInfo, CreatedKey, CreatedTenant, NewTenant, OwnLimits, Provisioner, TenantSchema, audit, check_email,
    check_limit, check_plan, keys, list, normal_domains,
};
use crate::clients::typed;
use crate::connect::Logins;
use crate::error::{DbError, ProvisionError};
use crate::registry::Actor;
use crate::statement::render;

/// Held while a cell is chosen or made, so that two creations do not both make one.
const CELL_LOCK: i64 = 7_468_657_462;

struct Cell {
    id: i32,
    login_role: String,
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
    /// Killed at any point it leaves nothing; after that it is complete.
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
        check_email(&new.admin_email)?;
        check_plan(&new.plan_tier)?;
        check_limit("max_agents", limits.max_agents, 0)?;
        check_limit("max_tasks_per_month", limits.max_tasks_per_month, 0)?;
        check_limit("storage_limit_gb", limits.storage_limit_gb, 0)?;
        let domains = normal_domains(&new.allowed_domains)?;
        let id = TenantId::generate();
        let schema = SchemaName::for_slug(&new.slug);
        let client = self.migrator.get().await?;
        client.batch_execute("BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'").await?;
        insert(&client, id, &schema, new, &domains, limits).await?;
        let cell = self.cell(&client, id, new.dedicated).await?;
        client.batch_execute(&self.ddl(id, &schema, &cell, new.dedicated, server_version(&client).await?)).await?;
        client
            .execute_typed(
                "INSERT INTO public.tenant_placements (tenant_id, cell_id, schema_version) VALUES ($1, $2, $3)",
                &[
                    typed(id.as_uuid(), Type::UUID),
                    typed(&cell.id, Type::INT4),
                    typed(&self.schema.version, Type::INT4),
                ],
            )
            .await?;
        let (key, token) = keys::insert(&client, id, "first key", &[], None).await?;
        let details = json!({ "slug": new.slug, "plan_tier": new.plan_tier, "cell": cell.id, "key": key.id });
        audit(&client, Some(*id.as_uuid()), actor, "tenant.create", &format!("tenant/{id}"), details).await?;
        let tenant = list::by_slug(&client, new.slug.as_str()).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        Ok(CreatedTenant { tenant, key: CreatedKey { info: key, token } })
    }

    /// The cell for a new tenant: the fullest with room, or a new one.
    async fn cell(&self, client: &Client, tenant: TenantId, dedicated: bool) -> Result<Cell, DbError> {
        if dedicated {
            let role = RoleName::for_tenant(tenant).as_str().to_owned();
            let sql = "INSERT INTO public.cells (login_role, capacity, tenants, dedicated) VALUES ($1, 1, 1, true) RETURNING id";
            let rows = client.query_typed(sql, &[typed(&role, Type::TEXT)]).await?;
            let id = rows.first().map(|r| r.get(0)).ok_or(DbError::Misuse("a cell was not made"))?;
            return Ok(Cell { id, login_role: role });
        }
        const TAKE: &str = "UPDATE public.cells SET tenants = tenants + 1 WHERE id = ( \
                SELECT id FROM public.cells WHERE NOT dedicated AND tenants < capacity \
                ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, login_role";
        let taken = |rows: Vec<tokio_postgres::Row>| rows.first().map(|r| Cell { id: r.get(0), login_role: r.get(1) });
        if let Some(cell) = taken(client.query_typed(TAKE, &[]).await?) {
            return Ok(cell);
        }
        // All are full, or the one with room is being filled at this moment: look again alone.
        client.query_typed("SELECT pg_advisory_xact_lock($1)", &[typed(&CELL_LOCK, Type::INT8)]).await?;
        if let Some(cell) = taken(client.query_typed(TAKE, &[]).await?) {
            return Ok(cell);
        }
        self.new_cell(client).await
    }

    async fn new_cell(&self, client: &Client) -> Result<Cell, DbError> {
        let rows = client
            .query_typed(
                "WITH next AS (SELECT nextval(pg_get_serial_sequence('public.cells', 'id'))::int AS id) \
                 INSERT INTO public.cells (id, login_role, capacity, tenants) \
                 SELECT next.id, 'tenantry_cell_' || i.id || '_' || next.id, $1, 1 FROM next, public.installation i \
                 RETURNING id, login_role",
                &[typed(&self.cell_capacity, Type::INT4)],
            )
            .await?;
        let row = rows.first().ok_or(DbError::Misuse("a cell was not made"))?;
        let cell = Cell { id: row.get(0), login_role: row.get(1) };
        client.batch_execute(&self.login(&cell.login_role)).await?;
        Ok(cell)
    }

    /// A login that owns nothing, inherits nothing and sees nothing but what it becomes.
    fn login(&self, role: &str) -> String {
        let password = tenantry_core::quote_literal(self.secret.password_of(role).expose_secret());
        let name = quote_identifier(role);
        format!(
            "CREATE ROLE {name} LOGIN NOINHERIT NOCREATEROLE NOCREATEDB PASSWORD {password}; \
             SET LOCAL ROLE {owner}; GRANT CONNECT ON DATABASE {database} TO {name}; RESET ROLE; \
             ALTER ROLE {name} SET search_path = pg_catalog, pg_temp",
            owner = Logins::OWNER,
            database = quote_identifier(&self.database),
        )
    }

    /// What makes a tenant with these tables, for one that is rolled back.
    pub(crate) async fn scratch_ddl(
        &self,
        id: TenantId,
        schema: &SchemaName,
        login: &str,
        dedicated: bool,
        tables: &TenantSchema,
        client: &Client,
    ) -> Result<String, DbError> {
        let scratch = Self { schema: Arc::new(tables.clone()), ..self.clone() };
        let cell = Cell { id: 0, login_role: login.to_owned() };
        Ok(scratch.ddl(id, schema, &cell, dedicated, server_version(client).await?))
    }

    /// The tables of new tenants.
    pub(crate) fn tables(&self) -> &TenantSchema {
        &self.schema
    }

    fn ddl(&self, id: TenantId, schema: &SchemaName, cell: &Cell, dedicated: bool, version: i32) -> String {
        let role = RoleName::for_tenant(id);
        let quoted = role.quoted();
        let inherit = if version >= 160_000 { " WITH INHERIT TRUE, SET FALSE" } else { "" };
        let member = if version >= 160_000 { " WITH INHERIT FALSE, SET TRUE" } else { "" };
        let make = if dedicated {
            // Its login inherits the group, being the tenant itself.
            self.login(role.as_str()).replacen("NOINHERIT", "INHERIT", 1)
        } else {
            format!("CREATE ROLE {quoted} NOLOGIN; GRANT {quoted} TO {}{member}", quote_identifier(&cell.login_role))
        };
        let grant = |rights: &str, append_only: bool| {
            let of_kind = self.schema.tables.iter().filter(|t| self.schema.append_only.contains(*t) == append_only);
            let names: Vec<String> = of_kind.map(|t| format!("{}.{}", schema.quoted(), quote_identifier(t))).collect();
            if names.is_empty() {
                String::new()
            } else {
                format!("GRANT {rights} ON {} TO {quoted};", names.join(", "))
            }
        };
        let grants = grant("SELECT, INSERT, UPDATE, DELETE", false) + &grant("SELECT, INSERT", true);
        format!(
            "{make}; GRANT {group} TO {quoted}{inherit}; \
             SET LOCAL ROLE {owner}; SET LOCAL search_path = pg_catalog, pg_temp; CREATE SCHEMA {schema}; {ddl}; \
             GRANT USAGE ON SCHEMA {schema} TO {quoted}; {grants} RESET ROLE",
            group = Logins::TENANT_GROUP,
            owner = Logins::OWNER,
            schema = schema.quoted(),
            ddl = render(&self.schema.sql, schema, &role),
        )
    }
}

async fn server_version(client: &Client) -> Result<i32, DbError> {
    let rows = client.query_typed("SELECT current_setting('server_version_num')::int", &[]).await?;
    Ok(rows.first().map_or(0, |r| r.get(0)))
}

async fn insert(
    client: &Client,
    id: TenantId,
    schema: &SchemaName,
    new: &NewTenant,
    domains: &[String],
    limits: OwnLimits,
) -> Result<(), ProvisionError> {
    let result = client
        .execute_typed(
            "INSERT INTO public.tenants (id, slug, schema_name, plan_tier, admin_email, allowed_domains, \
                max_agents, max_tasks_per_month, storage_limit_gb) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                typed(id.as_uuid(), Type::UUID),
                typed(&new.slug.as_str(), Type::TEXT),
                typed(&schema.as_str(), Type::TEXT),
                typed(&new.plan_tier, Type::TEXT),
                typed(&new.admin_email, Type::TEXT),
                typed(&domains, Type::TEXT_ARRAY),
                typed(&limits.max_agents, Type::INT4),
                typed(&limits.max_tasks_per_month, Type::INT4),
                typed(&limits.storage_limit_gb, Type::INT4),
            ],
        )
        .await;
    match result {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(error.into(), new.slug.as_str(), &new.plan_tier, domains)),
    }
}

/// Turns a violated constraint of the registry into what it means.
pub(super) fn refused(error: DbError, slug: &str, plan: &str, domains: &[String]) -> ProvisionError {
    match error.constraint() {
        Some("tenants_slug_key" | "tenants_schema_name_key") => ProvisionError::SlugTaken(slug.to_owned()),
        Some("tenants_plan_tier_fkey") => ProvisionError::UnknownPlan(plan.to_owned()),
        Some("tenant_domains_pkey") => ProvisionError::DomainTaken(domains.join(", ")),
        _ => ProvisionError::Database(error),
    }
}

impl std::fmt::Display for ApiKeyInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}
