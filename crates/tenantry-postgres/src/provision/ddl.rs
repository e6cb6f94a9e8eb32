use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tenantry_core::{RoleName, SchemaName, TenantId, quote_identifier, quote_literal};

use super::{Provisioner, TenantSchema};
use crate::connect::Logins;
use crate::statement::render;

/// Held from when a cell is to be made, so that two creations do not both make one, and while rights on the database change.
pub(super) const CELL_LOCK: i64 = 7_468_657_462;

impl Provisioner {
    /// Makes the schema of a tenant: tables and grants. The role must be there.
    pub(super) fn schema_ddl(&self, schema: &SchemaName, role: &RoleName) -> String {
        let quoted = role.quoted();
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
            "SET LOCAL ROLE {owner}; SET LOCAL search_path = pg_catalog, pg_temp; CREATE SCHEMA {schema}; {ddl}; \
             GRANT USAGE ON SCHEMA {schema} TO {quoted}; {grants} RESET ROLE",
            owner = Logins::OWNER,
            schema = schema.quoted(),
            ddl = render(&self.schema.sql, schema, role),
        )
    }

    /// Makes a login that owns nothing and sees nothing but what it becomes. A cell's inherits nothing; a dedicated tenant's
    /// is the tenant itself and inherits the tenants' group.
    pub(super) fn login_ddl(&self, role: &str, inherit: &str) -> String {
        let password = quote_literal(self.secret.password_of(role).expose_secret());
        let name = quote_identifier(role);
        format!(
            "CREATE ROLE {name} LOGIN {inherit} NOCREATEROLE NOCREATEDB PASSWORD {password}; \
             ALTER ROLE {name} SET search_path = pg_catalog, pg_temp"
        )
    }

    /// Lets a login connect. Only under [`CELL_LOCK`].
    pub(super) fn connect_ddl(&self, role: &str) -> String {
        format!(
            "SET LOCAL ROLE {}; GRANT CONNECT ON DATABASE {} TO {}; RESET ROLE",
            Logins::OWNER,
            quote_identifier(&self.database),
            quote_identifier(role)
        )
    }

    /// What a transaction still owes to the cell that it has opened: the login, which is to become the tenant.
    pub(super) fn new_cell_ddl(&self, login: &str, tenant: &RoleName) -> String {
        format!(
            "{}; {}; SELECT tenantry.join_cell({}, {})",
            self.login_ddl(login, "NOINHERIT"),
            self.connect_ddl(login),
            quote_literal(tenant.as_str()),
            quote_literal(login)
        )
    }

    /// What makes a tenant with these tables, for one that is rolled back. Its cell's login is there.
    pub(crate) fn scratch_ddl(
        &self,
        id: TenantId,
        schema: &SchemaName,
        login: &str,
        dedicated: bool,
        tables: &TenantSchema,
    ) -> String {
        let scratch = Self { schema: Arc::new(tables.clone()), ..self.clone() };
        let role = RoleName::for_tenant(id);
        let (make, join) = if dedicated {
            let (login, connect) = (self.login_ddl(role.as_str(), "INHERIT"), self.connect_ddl(role.as_str()));
            let make = format!("SELECT pg_advisory_xact_lock({CELL_LOCK}); {login}; {connect}");
            (make, String::new())
        } else {
            let join =
                format!("SELECT tenantry.join_cell({}, {});", quote_literal(role.as_str()), quote_literal(login));
            (format!("CREATE ROLE {} NOLOGIN", role.quoted()), join)
        };
        format!(
            "{make}; {join} SELECT tenantry.join_group({}); {}",
            quote_literal(role.as_str()),
            scratch.schema_ddl(schema, &role)
        )
    }

    /// The tables of new tenants.
    pub(crate) fn tables(&self) -> &TenantSchema {
        &self.schema
    }
}
