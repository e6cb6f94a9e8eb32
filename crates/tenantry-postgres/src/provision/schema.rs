use crate::migrate::{MigrationSet, Scope};
use crate::statement::without_word;

/// A table of a tenant that operators may read, with a reason. The domain's migrations grant just these columns to the
/// role `tenantry_auditor`; the table has a column `id` of type uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditedTable {
    /// Its name.
    pub name: &'static str,
    /// The columns, none of which holds a secret.
    pub columns: &'static [&'static str],
}

/// The tables a domain puts into each tenant's schema.
#[derive(Debug, Clone)]
pub struct TenantSchema {
    /// The version that `sql` brings a new schema to.
    pub version: i32,
    /// The version that a tenant must have at least for this program to serve it. The same as `version`, unless the program
    /// also works on an older schema.
    pub needs: i32,
    /// DDL with the pseudo schema `tenant.` and the pseudo role `tenant_role`, run as the owner.
    pub sql: String,
    /// The tables the tenant's role may read and write. Named one by one: granting on all tables of a
    /// schema reads the whole catalog.
    pub tables: Vec<String>,
    /// Those of `tables` whose rows the tenant's role may add and read, never change.
    pub append_only: Vec<String>,
    /// Those of `tables` that operators may read, with a reason.
    pub audited: Vec<AuditedTable>,
    /// What brings an existing tenant to `version`, step by step.
    pub migrations: MigrationSet,
}

impl TenantSchema {
    /// A first version without migrations: `sql` is the whole of it.
    #[must_use]
    pub fn new(sql: &str, tables: &[&str]) -> Self {
        Self {
            version: 1,
            needs: 1,
            sql: sql.to_owned(),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            append_only: Vec::new(),
            audited: Vec::new(),
            migrations: MigrationSet::none(Scope::Tenant),
        }
    }

    /// The state that all migrations lead to, made for a new tenant by running them one after the other. A new tenant
    /// has no rows, so what an index would be built beside of does not exist: `CONCURRENTLY`, which no transaction can hold, is left out.
    #[must_use]
    pub fn replaying(migrations: MigrationSet, tables: &[&str]) -> Self {
        let text = |transactional: bool, up: &str| {
            if transactional { up.to_owned() } else { without_word(up, "CONCURRENTLY") }
        };
        let sql = migrations.all().iter().map(|m| text(m.transactional, m.up.trim_end()) + "\n;\n").collect::<String>();
        let version = migrations.latest();
        Self { version, needs: version, migrations, ..Self::new(&sql, tables) }
    }

    /// Tables of which the tenant's role may add and read rows, never change them.
    #[must_use]
    pub fn with_append_only(mut self, tables: &[&str]) -> Self {
        self.append_only = tables.iter().map(|table| (*table).to_owned()).collect();
        self
    }

    /// Tables that operators may read, with a reason.
    #[must_use]
    pub fn with_audited(mut self, tables: &[AuditedTable]) -> Self {
        self.audited = tables.to_vec();
        self
    }

    /// The least version that the program can serve.
    #[must_use]
    pub const fn needing(mut self, version: i32) -> Self {
        self.needs = version;
        self
    }
}
